from .rival_speechbrain import do_without_torchaudio

do_without_torchaudio()  # before anything imports transformers
