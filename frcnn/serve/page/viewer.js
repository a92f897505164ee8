// One image with its boxes: an SVG over the picture, in the image's own pixels.

const SVG = "http://www.w3.org/2000/svg";
const ZOOM = 1.5;
const MOST_ZOOM = 16;
const FONT = 12; // pixels of the screen

const byId = (id) => document.getElementById(id);

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

export class Viewer {
  #scroller = byId("scroller");
  #stage = byId("stage");
  #picture = byId("picture");
  #boxes = byId("boxes");
  #zoom = 1;
  #url = null;
  #entry = null;
  #draw = () => {};

  constructor() {
    byId("zoom-in").addEventListener("click", () => { this.#zoomBy(ZOOM); });
    byId("zoom-out").addEventListener("click", () => { this.#zoomBy(1 / ZOOM); });
    byId("zoom-fit").addEventListener("click", () => { this.#zoomBy(0); });
    new ResizeObserver(() => { this.#layOut(); }).observe(this.#scroller);
  }

  // Shows the picture of an entry of the list; boxes follow with `draw`.
  show(entry) {
    const picture = entry.picture ?? entry.file;
    if (this.#entry === entry && this.#shown === picture) return;
    this.#entry = entry;
    this.#shown = picture;
    this.#zoom = 1;
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = URL.createObjectURL(picture);
    this.#picture.src = this.#url;
    this.#picture.alt = entry.name;
    this.#boxes.replaceChildren();
    this.#picture.onload = () => { this.#layOut(); };
    this.#picture.onerror = () => { this.#picture.removeAttribute("src"); this.#layOut(); };
    this.#layOut();
  }

  #shown = null;

  // Draws boxes: detections, colors by class id, whether with labels.
  draw(detections, colors, withLabels) {
    this.#draw = () => {
      const { width, height } = this.#size();
      this.#boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.#boxes.replaceChildren();
      const scale = this.#stage.clientWidth / width || 1;
      for (const found of [...detections].reverse()) { // the best ones on top
        this.#box(found, colors.get(found.class_id), withLabels ? scale : 0, width);
      }
    };
    this.#draw();
  }

  #box({ box: [y1, x1, y2, x2], class_name: name, score }, color, scale, width) {
    const group = element("g", { fill: "none" }, this.#boxes);
    const shape = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
    element("rect", { ...shape, class: "halo" }, group);
    element("rect", { ...shape, stroke: color, class: "line" }, group);
    const text = `${name} ${score.toFixed(2)}`;
    element("title", {}, group).textContent = text;
    if (!scale) return;
    const size = FONT / scale;
    const long = 0.6 * size * text.length;
    const x = Math.max(0, Math.min(x1, width - long));
    const y = y1 >= 1.3 * size ? y1 - 0.3 * size : y1 + size;
    element("text", { x, y, "font-size": size, "stroke-width": size / 4 }, group).textContent = text;
  }

  #size() {
    const known = this.#entry?.answer?.image;
    return {
      width: known?.width || this.#picture.naturalWidth || 4,
      height: known?.height || this.#picture.naturalHeight || 3,
    };
  }

  #zoomBy(factor) {
    const box = this.#scroller;
    const before = this.#zoom;
    const [x, y] = [box.scrollLeft + box.clientWidth / 2, box.scrollTop + box.clientHeight / 2];
    this.#zoom = Math.min(MOST_ZOOM, Math.max(1, this.#zoom * factor));
    this.#layOut();
    const ratio = this.#zoom / before;
    box.scrollTo(x * ratio - box.clientWidth / 2, y * ratio - box.clientHeight / 2);
  }

  #layOut() {
    const { width, height } = this.#size();
    const box = this.#scroller;
    box.style.setProperty("aspect-ratio", `${width} / ${height}`);
    const scale = Math.min(box.clientWidth / width, box.clientHeight / height) * this.#zoom;
    this.#stage.style.setProperty("width", `${width * scale}px`);
    this.#stage.style.setProperty("height", `${height * scale}px`);
    byId("zoom-out").disabled = this.#zoom === 1;
    byId("zoom-in").disabled = this.#zoom === MOST_ZOOM;
    this.#draw();
  }
}
