"use strict";
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const json = (id) => { const found = document.getElementById(id); return found && JSON.parse(found.textContent); };
  const about = json("about");
  const show = (element) => { if (element) element.hidden = false; };
  $$(".with-script, .class-filter, .slider, .map-controls").forEach(show);

  // What is kept between visits; a browser may refuse to keep anything for a file.
  const store = {
    key: "imgstream:" + about.name,
    get() { try { return JSON.parse(localStorage.getItem(this.key)) || {}; } catch { return {}; } },
    set(value) { try { localStorage.setItem(this.key, JSON.stringify(value)); } catch { /* it is kept until the page is closed */ } },
  };

  // Light and dark.
  const theme = $(".theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const named = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    named();
    document.dispatchEvent(new Event("theme"));
  });
  dark.addEventListener("change", () => { named(); document.dispatchEvent(new Event("theme")); });
  show(theme);
  named();

  // The section that one is in.
  const links = new Map($$("nav a").map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => { link.classList.remove("here"); link.removeAttribute("aria-current"); });
      const here = links.get(entry.target.id);
      here.classList.add("here");
      here.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  links.forEach((_, id) => { const section = document.getElementById(id); if (section) watcher.observe(section); });

  // A cell of the matrix opens its images.
  const open = () => { const target = document.getElementById(decodeURIComponent(location.hash.slice(1))); if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); } };
  addEventListener("hashchange", open);
  $$('a[href^="#cell-"]').forEach((link) => link.addEventListener("click", () => setTimeout(open)));
  open();

  // --min-score.
  const steps = json("coverage-data");
  const slider = $("#threshold");
  if (steps && slider) {
    const percent = (value) => (100 * value).toFixed(1) + " %";
    const said = () => {
      const step = steps[slider.value];
      $("#threshold-value").textContent = step.at.toFixed(2);
      $("#threshold-said").textContent = step.accuracy === null ? "No image has so high a score." :
        `${percent(step.kept)} of the images are kept, and ${percent(step.accuracy)} of those are right; ${percent(1 - step.kept)} would be unsure.`;
    };
    slider.addEventListener("input", said);
    said();
  }

  // By class.
  const filter = $(".class-filter select");
  if (filter) filter.addEventListener("change", () => {
    $$("#images .tile").forEach((tile) => {
      tile.hidden = filter.value !== "" && tile.dataset.label !== filter.value && tile.dataset.predicted !== filter.value;
    });
  });

  // Marks.
  const marks = store.get();
  const keyOf = (tile) => tile.dataset.exact ? "b64:" + tile.dataset.exact : tile.dataset.path;
  const words = (mark) => mark.action === "label" ? "→ " + mark.label : mark.action === "exclude" ? "exclude" : "fine";
  const tiles = $$(".tile:not(.gone)");
  const drawMarks = () => {
    for (const tile of tiles) {
      const mark = marks[keyOf(tile)];
      if (mark) tile.dataset.marked = words(mark); else delete tile.dataset.marked;
    }
    const count = Object.keys(marks).length;
    $(".marks").hidden = count === 0;
    $(".marks-count").textContent = count;
  };
  const quoted = (text) => /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  $(".marks-save").addEventListener("click", () => {
    const lines = ["path,action,label,was,path_b64"];
    for (const mark of Object.values(marks)) lines.push([mark.path, mark.action, mark.label, mark.was, mark.exact].map((text) => quoted(text || "")).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  $(".marks-clear").addEventListener("click", () => {
    for (const key of Object.keys(marks)) delete marks[key];
    store.set(marks);
    drawMarks();
  });

  // The viewer.
  const viewer = $(".viewer");
  let row = [], place = 0;
  const enlarge = (tile) => {
    const data = tile.dataset, caption = $(".bars", tile), looked = $(".looked", tile);
    $(".viewer-photo").src = $(".frame img", tile).src;
    $(".viewer-photo").alt = $(".frame img", tile).alt;
    $(".viewer-looked").hidden = !looked || !($("#show-looked") && $("#show-looked").checked);
    if (looked) $(".viewer-looked").src = looked.src; else $(".viewer-looked").removeAttribute("src");
    $("#viewer-title").textContent = ($(".path bdi", tile) || {}).textContent || data.path;
    $(".viewer-said").textContent = [data.label !== undefined ? `Labelled ${data.label}` : "", data.predicted ? `predicted ${data.predicted}` : ""].filter(Boolean).join(", ");
    $(".viewer-bars").replaceChildren(...(caption ? [caption.cloneNode(true)] : []));
    const mark = marks[keyOf(tile)];
    $(".mark-class").value = mark && mark.action === "label" ? mark.label : data.predicted && data.predicted !== data.label ? data.predicted : about.classes.length === 2 ? about.classes.find((name) => name !== data.label) : "";
    $(".viewer-marked").textContent = mark ? "Marked: " + words(mark) : "";
    $(".viewer fieldset").hidden = data.label === undefined;
  };
  const step = (by) => { if (row.length) { place = (place + by + row.length) % row.length; enlarge(row[place]); } };
  for (const tile of tiles) {
    const image = $(".frame", tile);
    tile.classList.add("can-mark");
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    image.setAttribute("aria-label", "Enlarge " + ($("img", tile).alt));
    const chosen = () => { row = $$(".tile.can-mark:not([hidden])", tile.parentElement); place = row.indexOf(tile); enlarge(tile); viewer.showModal(); };
    image.addEventListener("click", chosen);
    image.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); chosen(); } });
  }
  $(".previous").addEventListener("click", () => step(-1));
  $(".next").addEventListener("click", () => step(1));
  $(".close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => { const image = row[place] && $(".frame", row[place]); if (image) image.focus(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT") return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  $$("[data-mark]").forEach((button) => button.addEventListener("click", () => {
    const tile = row[place], data = tile.dataset, action = button.dataset.mark, label = $(".mark-class").value;
    if (action === "label" && !(about.several ? label.split("|").map((each) => each.trim()).filter(Boolean) : [label]).every((each) => about.classes.includes(each))) { $(".viewer-marked").textContent = "Choose one of the classes."; $(".mark-class").focus(); return; }
    if (action) marks[keyOf(tile)] = { path: data.path, exact: data.exact || "", was: data.label || "", action, label: action === "label" ? label : "" };
    else delete marks[keyOf(tile)];
    store.set(marks);
    drawMarks();
    $(".viewer-marked").textContent = action ? "Marked: " + words(marks[keyOf(tile)]) : "";
    if (action && row.length > 1 && place < row.length - 1) step(1);
  }));
  drawMarks();

  // The map.
  const map = json("map-data");
  if (!map) return;
  const unpack = (text, type) => new type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const xy = unpack(map.xy, Uint16Array), label = unpack(map.label, Int32Array), predicted = unpack(map.predicted, Int32Array), score = unpack(map.score, Float32Array);
  const canvas = $("#map-canvas"), card = $("#map-card"), context = canvas.getContext("2d"), n = label.length;
  const wrong = (i) => label[i] >= 0 && label[i] !== predicted[i];
  const colourOf = (i) => {
    const by = $("#map-colour").value;
    if (by === "right") return wrong(i) ? about.palette[1] : about.palette[0];
    const k = by === "label" && label[i] >= 0 ? label[i] : predicted[i];
    return about.palette[((k % about.palette.length) + about.palette.length) % about.palette.length];
  };
  let width = 0, height = 0, cells = new Map(), at = -1;
  const CELL = 14;
  const x = (i) => xy[2 * i] / 65535 * width, y = (i) => (1 - xy[2 * i + 1] / 65535) * height;
  const shown = (i) => !$("#map-wrong").checked || wrong(i);
  const draw = () => {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    width = canvas.clientWidth; height = canvas.clientHeight;
    canvas.width = width * ratio; canvas.height = height * ratio;
    context.scale(ratio, ratio);
    cells = new Map();
    const size = n > 30000 ? 2 : n > 5000 ? 3 : 5, groups = new Map();
    for (let i = 0; i < n; i++) {
      if (!shown(i)) continue;
      const cell = Math.floor(x(i) / CELL) + ":" + Math.floor(y(i) / CELL);
      if (!cells.has(cell)) cells.set(cell, []);
      cells.get(cell).push(i);
      const colour = colourOf(i);
      if (!groups.has(colour)) groups.set(colour, []);
      groups.get(colour).push(i);
    }
    context.globalAlpha = n > 3000 ? .65 : .8;
    for (const [colour, members] of groups) {
      context.fillStyle = context.strokeStyle = colour;
      for (const i of members) if (!wrong(i)) { context.beginPath(); context.arc(x(i), y(i), size / 2 + .5, 0, 7); context.fill(); }
    }
    context.globalAlpha = 1;
    context.lineWidth = 1.8;
    for (const [colour, members] of groups) {
      context.strokeStyle = colour;
      context.beginPath();
      for (const i of members) if (wrong(i)) { const a = x(i), b = y(i), r = 4; context.moveTo(a - r, b - r); context.lineTo(a + r, b + r); context.moveTo(a - r, b + r); context.lineTo(a + r, b - r); }
      context.stroke();
    }
  };
  const point = (i) => {
    at = i;
    card.hidden = i < 0;
    if (i < 0) return;
    const picture = $("img", card);
    picture.hidden = !map.thumbnails[i];
    if (map.thumbnails[i]) picture.src = map.thumbnails[i];
    const name = (k) => k < 0 ? "" : map.classes[k];
    $("p", card).textContent = [map.paths[i], label[i] >= 0 ? "labelled " + name(label[i]) : "", `predicted ${name(predicted[i])} ${score[i].toFixed(2)}`].filter(Boolean).join(" · ");
    card.style.left = Math.max(4, Math.min(width - 140, x(i) + 14)) + "px";
    card.style.top = Math.max(4, Math.min(height - 190, y(i) + 14)) + "px";
  };
  const nearest = (px, py) => {
    let best = -1, least = CELL * CELL;
    for (let a = -1; a <= 1; a++) for (let b = -1; b <= 1; b++) {
      for (const i of cells.get((Math.floor(px / CELL) + a) + ":" + (Math.floor(py / CELL) + b)) || []) {
        const d = (x(i) - px) ** 2 + (y(i) - py) ** 2;
        if (d < least) { least = d; best = i; }
      }
    }
    return best;
  };
  canvas.addEventListener("pointermove", (event) => point(nearest(event.offsetX, event.offsetY)));
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") point(-1);
    if (!by) return;
    event.preventDefault();
    let i = at;
    for (let tries = 0; tries < n; tries++) { i = (i + by + n) % n; if (shown(i)) break; }
    point(i);
  });
  $("#map-colour").addEventListener("change", draw);
  $("#map-wrong").addEventListener("change", draw);
  $("#map-picture").hidden = true;
  show(canvas);
  new ResizeObserver(draw).observe(canvas);
  document.addEventListener("theme", draw);
})();
