"use strict";
/* The page of a Look: what it shows is read from the JSON in #data, all of it as text, never as markup.

   A map's weights are bytes: weight = byte / 255 * the highest weight of its head and query. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const audio = document.getElementById("audio");
  const tip = document.getElementById("tip");
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const palette = bytes(data.palette);
  const KHZ = [0.1, 0.5, 1, 2, 4, 8, 16];
  const STEPS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
  const mel = (hertz) => 1127 * Math.log1p(hertz / 700);
  const say = (seconds) => seconds.toFixed(2);
  const hertz = ([low, high]) =>
    high < 1000 ? `${low.toFixed(0)}–${high.toFixed(0)} Hz` : `${(low / 1000).toFixed(1)}–${(high / 1000).toFixed(1)} kHz`;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function seek(seconds) {
    audio.currentTime = Math.max(0, Math.min(seconds, data.seconds));
    moved();
  }

  /* Borders between neighbours that may overlap: midway between the two. */
  function borders(ranges) {
    const between = ranges.slice(1).map((range, i) => (range[0] + ranges[i][1]) / 2);
    return [ranges[0][0], ...between, ranges[ranges.length - 1][1]];
  }

  const within = (edges, value) => edges.findIndex((edge, i) => i + 1 < edges.length && edge <= value && value < edges[i + 1]);

  class Panel {
    constructor(look, number) {
      this.look = look;
      this.end = data.end;
      this.decoded = new Map();
      this.cell = null; // [row, column] that the keyboard is on
      this.chosen = 0; // number of what looks, in `asked`
      this.node = make("section", { "aria-label": look.model });
      this.node.append(make("h2", {}, look.heading));
      if (look.note) this.node.append(make("p", { class: "note" }, look.note));
      this.words = make("div", { class: "words", role: "group", "aria-label": "What was heard" });
      this.buttons = look.items.map((item, i) => this.wordButton(item, i));
      this.words.append(...this.buttons);
      this.node.append(this.words);
      this.drawSound();
      if (look.maps.length) this.addMap(number);
    }

    wordButton(item, i) {
      const time = item.start === null ? "" : `, ${say(item.start)} to ${say(item.end)} s`;
      const button = make("button", { type: "button", "aria-pressed": "false", "aria-label": `${item.text}${time}` }, item.text);
      button.title = `${item.start === null ? "" : `${say(item.start)}–${say(item.end)} s, `}confidence ${item.confidence.toFixed(2)}`;
      button.addEventListener("click", () => {
        if (item.start !== null) seek(item.start);
        this.press(i);
      });
      return button;
    }

    press(i) {
      if (!this.select) return;
      const found = this.asked.findIndex((asked) => asked.word === i);
      if (found >= 0) this.choose(found);
      else this.mark(i);
    }

    mark(word) {
      this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === word)));
      this.marked = word;
      if (this.matrix) this.draw();
    }

    row(node, height) {
      const marks = make("div", { class: "marks", "aria-hidden": "true" });
      node.style.height = height;
      node.append((node.line = make("div", { class: "cursor" })));
      this.node.append(make("div", { class: "row" }, marks, node));
      (this.plots ??= []).push(node);
      return marks;
    }

    kilohertz(marks, [low, high]) {
      const share = (value) => (mel(high) - mel(value)) / (mel(high) - mel(low));
      const shown = KHZ.filter((khz) => low <= khz * 1000 && khz * 1000 <= high);
      marks.replaceChildren(...shown.map((khz) => this.markAt(share(khz * 1000), `${khz} kHz`)));
    }

    markAt(share, text) {
      const span = make("span", {}, text);
      span.style.top = `${100 * share}%`;
      return span;
    }

    drawSound() {
      const { image, span, hertz: band } = this.look.spectrogram;
      const picture = make("img", { src: image, alt: "Spectrogram", draggable: "false" });
      picture.style.left = `${(100 * span[0]) / this.end}%`;
      picture.style.width = `${(100 * (span[1] - span[0])) / this.end}%`;
      const plot = make("div", { class: "plot sound" }, picture);
      this.kilohertz(this.row(plot, "9rem"), band);
      plot.addEventListener("click", (event) => seek(this.secondsAt(plot, event)));
      plot.addEventListener("pointermove", (event) => {
        const at = this.place(plot, event);
        const pitch = 700 * Math.expm1((mel(band[1]) - at.y * (mel(band[1]) - mel(band[0]))) / 1127);
        showTip(event, `${say(at.x * this.end)} s · ${(pitch / 1000).toFixed(2)} kHz`);
      });
      plot.addEventListener("pointerleave", hideTip);
    }

    place(node, event) {
      const box = node.getBoundingClientRect();
      return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
    }

    secondsAt(node, event) {
      return this.place(node, event).x * this.end;
    }

    addMap(number) {
      const labelled = (name, text) => {
        const select = make("select", { id: `${name}-${number}` });
        return [select, make("label", { for: select.id }, `${text} `, select)];
      };
      const [layer, layerLabel] = labelled("layer", "Map");
      const [head, headLabel] = labelled("head", "Head");
      const [asked, askedLabel] = labelled("query", "What looks");
      Object.assign(this, { layer, head, select: asked, askedLabel });
      layer.append(...this.look.maps.map((map, i) => make("option", { value: i }, map.name)));
      this.node.append(make("div", { class: "choices" }, layerLabel, headLabel, askedLabel));
      this.canvas = make("canvas", { tabindex: "0", role: "img" });
      this.plot = make("div", { class: "plot" }, this.canvas);
      this.marks = this.row(this.plot, "9rem");
      this.node.append(make("div", { class: "row" }, make("div"), this.ticks()));
      this.scale = make("p", { class: "note" });
      this.said = make("output", { "aria-live": "polite" });
      this.node.append(this.scale, this.said);
      layer.addEventListener("change", () => this.changeMap());
      head.addEventListener("change", () => this.draw());
      asked.addEventListener("change", () => this.choose(Number(asked.value)));
      this.canvas.addEventListener("pointermove", (event) => this.pointed(event));
      this.canvas.addEventListener("pointerleave", hideTip);
      this.canvas.addEventListener("click", (event) => this.clicked(this.cellAt(event)));
      this.canvas.addEventListener("keydown", (event) => this.keyed(event));
      new ResizeObserver(() => this.draw()).observe(this.plot);
      const opened = this.look.open;
      layer.value = String(opened.map);
      this.changeMap(opened.head, opened);
    }

    ticks() {
      const step = STEPS.find((each) => this.end / each <= 10) ?? 30;
      const node = make("div", { class: "ticks", "aria-hidden": "true" });
      for (let t = 0; t <= this.end; t += step) {
        const span = make("span", {}, `${Number(t.toFixed(2))} s`);
        span.style.left = `${(100 * t) / this.end}%`;
        node.append(span);
      }
      return node;
    }

    changeMap(head = "mean", opened = {}) {
      this.map = this.look.maps[Number(this.layer.value)];
      const { map } = this;
      const names = map.heads === 1 ? [] : ["mean"];
      for (let i = 0; i < map.heads; i += 1) names.push(String(i));
      this.head.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
      if (names.includes(String(head))) this.head.value = String(head);
      this.matrix = map.rows.length === 1 && map.queries[0]?.kind === "token";
      this.columns = borders(map.columns);
      this.bands = borders(map.rows);
      this.asked = this.choices();
      this.select.replaceChildren(...this.asked.map((asked, i) => make("option", { value: i }, asked.label)));
      this.askedLabel.hidden = this.matrix || this.asked.length < 2;
      this.plot.style.height = this.matrix ? `${15 * map.queries.length}px` : "9rem";
      if (this.matrix) {
        const share = (i) => (i + 0.5) / map.queries.length;
        this.marks.replaceChildren(...map.queries.map((query, i) => this.markAt(share(i), query.label)));
      } else this.kilohertz(this.marks, [map.rows[0][0], map.rows[map.rows.length - 1][1]]);
      this.cell = null;
      const wanted = this.asked.findIndex((asked) => asked.word !== undefined && asked.word === opened.word);
      const queried = opened.query === null || opened.query === undefined ? -1 : this.asked.findIndex((asked) => asked.queries[0] === opened.query);
      this.choose(wanted >= 0 ? wanted : Math.max(0, queried), opened.word === undefined);
    }

    /* What can look in this map: words, then tokens; or the clip, then patches. */
    choices() {
      const { queries } = this.map;
      if (queries[0]?.kind !== "token") return queries.map((query, i) => ({ label: query.label, queries: [i], query }));
      const words = this.look.items.flatMap((item, word) => {
        const tokens = [];
        for (let i = item.first; i < item.last; i += 1) tokens.push(i);
        return tokens.length ? [{ label: `word: ${item.text}`, queries: tokens, word }] : [];
      });
      return [...words, ...queries.map((query, i) => ({ label: `token: ${query.label}`, queries: [i], query }))];
    }

    choose(number, quiet = false) {
      this.chosen = number;
      this.select.value = String(number);
      const word = this.asked[number]?.word;
      this.mark(quiet && this.matrix ? undefined : word);
      if (!this.matrix) this.draw();
    }

    /* Weights (rows x columns) of some queries, their mean, of the chosen head or the mean of all. */
    weights(queries) {
      const { map } = this;
      if (!this.decoded.has(map)) this.decoded.set(map, { values: bytes(map.weights), scales: floats(map.scales) });
      const { values, scales } = this.decoded.get(map);
      const size = map.rows.length * map.columns.length;
      const heads = this.head.value === "mean" ? [...Array(map.heads).keys()] : [Number(this.head.value)];
      const sum = new Float32Array(size);
      for (const head of heads) {
        for (const query of queries) {
          const at = head * map.queries.length + query;
          const unit = scales[at] / 255 / heads.length / queries.length;
          for (let i = 0; i < size; i += 1) sum[i] += values[at * size + i] * unit;
        }
      }
      return sum;
    }

    draw() {
      if (!this.map || !this.canvas.clientWidth) return;
      const { canvas, map, matrix, columns } = this;
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(canvas.clientWidth * ratio);
      canvas.height = Math.round(canvas.clientHeight * ratio);
      const pen = canvas.getContext("2d");
      const count = matrix ? map.queries.length : map.rows.length;
      this.shown = matrix ? map.queries.map((_, i) => this.weights([i])) : this.planeRows();
      const top = Math.max(1e-9, ...this.shown.map((row) => row.reduce((a, b) => Math.max(a, b), 0)));
      pen.fillStyle = this.colour(0);
      pen.fillRect(0, 0, canvas.width, canvas.height);
      for (let row = 0; row < count; row += 1) {
        const [y, under] = this.heights(row).map((share) => Math.round(share * canvas.height));
        for (let i = 0; i < map.columns.length; i += 1) {
          const x = Math.round((columns[i] / this.end) * canvas.width);
          const right = Math.round((columns[i + 1] / this.end) * canvas.width);
          pen.fillStyle = this.colour(this.shown[row][i] / top);
          pen.fillRect(x, y, right - x, under - y);
        }
      }
      this.outlineChosen(pen);
      this.scale.textContent = `From dark, weight 0, to the brightest, weight ${top.toPrecision(3)}.`;
      const asked = matrix ? "" : `, from ${this.asked[this.chosen].label}`;
      canvas.setAttribute("aria-label", `${map.name}${asked}: brightest ${top.toFixed(3)}. Arrow keys read weights.`);
    }

    outlineChosen(pen) {
      const { canvas, map } = this;
      pen.lineWidth = 2 * (window.devicePixelRatio || 1);
      pen.strokeStyle = "#ff8c42";
      const box = (left, right, [y, under]) =>
        pen.strokeRect((left / this.end) * canvas.width, y * canvas.height, ((right - left) / this.end) * canvas.width, (under - y) * canvas.height);
      const query = this.asked[this.chosen]?.query;
      if (!this.matrix && query?.hertz) box(query.seconds[0], query.seconds[1], this.band(query.hertz));
      const item = this.look.items[this.marked];
      if (this.matrix && item && item.last > item.first) {
        box(0, this.end, [item.first / map.queries.length, item.last / map.queries.length]);
      }
      if (this.cell) box(this.columns[this.cell[1]], this.columns[this.cell[1] + 1], this.heights(this.cell[0]));
    }

    planeRows() {
      const all = this.weights(this.asked[this.chosen].queries);
      const width = this.map.columns.length;
      return this.map.rows.map((_, row) => all.subarray(row * width, (row + 1) * width));
    }

    band([low, high]) {
      const [bottom, top] = [mel(this.bands[0]), mel(this.bands[this.bands.length - 1])];
      return [(top - mel(high)) / (top - bottom), (top - mel(low)) / (top - bottom)];
    }

    /* Where a row lies in the picture, from 0 at the top to 1; bands of frequency have the low ones below. */
    heights(row) {
      if (this.matrix) return [row / this.map.queries.length, (row + 1) / this.map.queries.length];
      return this.band([this.bands[row], this.bands[row + 1]]);
    }

    colour(share) {
      const at = 3 * Math.max(0, Math.min(255, Math.round(share * 255)));
      return `rgb(${palette[at]},${palette[at + 1]},${palette[at + 2]})`;
    }

    cellAt(event) {
      const at = this.place(this.canvas, event);
      const column = within(this.columns, at.x * this.end);
      const count = this.matrix ? this.map.queries.length : this.map.rows.length;
      for (let row = 0; row < count; row += 1) {
        const [y, under] = this.heights(row);
        if (y <= at.y && at.y < under && column >= 0) return [row, column];
      }
      return null;
    }

    describe([row, column]) {
      const { map } = this;
      const [start, end] = map.columns[column];
      const token = this.matrix ? `“${map.queries[row].label}” · ` : "";
      const band = this.matrix ? "" : ` · ${hertz(map.rows[row])}`;
      return `${token}${say(start)}–${say(end)} s${band} · weight ${this.shown[row][column].toPrecision(3)}`;
    }

    pointed(event) {
      const cell = this.cellAt(event);
      if (cell) showTip(event, this.describe(cell));
      else hideTip();
    }

    clicked(cell) {
      if (!cell) return;
      this.said.textContent = this.describe(cell);
      if (this.map.queries[0].kind === "token") seek(this.map.columns[cell[1]][0]);
      else this.chooseNear(cell);
    }

    /* The patch that a cell is, or the nearest one whose weights are in the page. */
    chooseNear([row, column]) {
      const middle = ([low, high]) => (low + high) / 2;
      const far = (query) =>
        Math.abs(middle(query.seconds) - middle(this.map.columns[column])) + 100 * Math.abs(mel(middle(query.hertz)) - mel(middle(this.map.rows[row])));
      let best = 0;
      this.asked.forEach(({ query }, i) => {
        if (query.hertz && (!best || far(query) < far(this.asked[best].query))) best = i;
      });
      if (best) this.choose(best);
    }

    keyed(event) {
      const count = this.matrix ? this.map.queries.length : this.map.rows.length;
      const up = this.matrix ? -1 : 1;
      const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [up, 0], ArrowDown: [-up, 0] };
      if (event.key in moves) {
        const [row, column] = this.cell ?? [this.matrix ? 0 : count - 1, 0];
        const [down, right] = this.cell ? moves[event.key] : [0, 0];
        const clip = (value, size) => Math.max(0, Math.min(size - 1, value));
        this.cell = [clip(row + down, count), clip(column + right, this.map.columns.length)];
        this.said.textContent = this.describe(this.cell);
      } else if (event.key === "Enter" && this.cell) this.clicked(this.cell);
      else if (event.key === "Escape") this.cell = null;
      else return;
      event.preventDefault();
      this.draw();
    }

    at(seconds) {
      for (const plot of this.plots) plot.line.style.left = `${(100 * seconds) / this.end}%`;
      this.buttons.forEach((button, i) => {
        const { start, end } = this.look.items[i];
        const now = start !== null && start <= seconds && seconds < end;
        button.classList.toggle("now", now);
        if (now) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      });
      if (!this.matrix) return;
      [...this.marks.children].forEach((mark, i) => {
        const time = this.map.queries[i].seconds;
        mark.classList.toggle("now", Boolean(time) && time[0] <= seconds && seconds < time[1]);
      });
    }
  }

  function showTip(event, text) {
    tip.textContent = text;
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 4)}px`;
  }

  function hideTip() {
    tip.hidden = true;
  }

  const panels = data.looks.map((look, number) => new Panel(look, number));
  document.getElementById("looks").append(...panels.map((panel) => panel.node));

  function moved() {
    for (const panel of panels) panel.at(audio.currentTime);
  }

  function follow() {
    moved();
    if (!audio.paused && !audio.ended) requestAnimationFrame(follow);
  }

  audio.addEventListener("play", follow);
  for (const event of ["pause", "seeking", "seeked", "timeupdate", "ended"]) audio.addEventListener(event, moved);
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const given = root.dataset.theme;
    const dark = given ? given === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  moved();
})();
