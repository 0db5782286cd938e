/** What pointer and keyboard do to a heat map. */

/** @typedef {import("./heatmap.js").HeatMap} HeatMap */

/** The cell under a pointer; of a block the one that gives it its colour. @param {HeatMap} map @returns {[number, number] | null} */
function cellAt(map, event) {
  const box = map.canvas.getBoundingClientRect();
  const { block } = map;
  const q = map.top + block * Math.floor((event.clientY - box.top - map.gutter) / (map.cell * block));
  const k = map.left + block * Math.floor((event.clientX - box.left - map.gutter) / (map.cell * block));
  const { source } = map.shown;
  if (q < map.top || k < map.left || q >= source.rows || k >= source.columns) return null;
  const peak = source.peak(block, q, k);
  for (let row = q; row < Math.min(q + block, source.rows); row += 1) {
    for (let column = k; column < Math.min(k + block, source.columns); column += 1) if (source.get(row, column) === peak) return [row, column];
  }
  return [q, k];
}

/** @param {HeatMap} map */
export function listen(map) {
  const { canvas } = map;
  /** @type {{x: number, y: number, top: number, left: number, moved: boolean} | null} */
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, top: map.top, left: map.left, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!map.shown) return;
    if (drag && event.buttons) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (Math.abs(dx) + Math.abs(dy) < 4 && !drag.moved) return;
      drag.moved = true;
      map.top = drag.top - dy / map.cell;
      map.left = drag.left - dx / map.cell;
      map.clamp();
      map.draw();
      return;
    }
    const cell = cellAt(map, event);
    const same = cell && cell[0] === map.cursor[0] && cell[1] === map.cursor[1];
    if (cell && (!same || !map.readout.textContent)) map.point(...cell);
  });
  canvas.addEventListener("pointerup", (event) => {
    const cell = map.shown && drag && !drag.moved ? cellAt(map, event) : null;
    drag = null;
    if (!cell) return;
    map.point(...cell);
    map.options.pick?.(...cell);
  });
  canvas.addEventListener("pointercancel", () => (drag = null));
  canvas.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && map.leave());
  canvas.addEventListener("keydown", (event) => map.shown && press(map, event));
  const wheel = (event) => {
    if (!event.ctrlKey || !map.shown) return;
    event.preventDefault();
    map.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  };
  canvas.addEventListener("wheel", wheel, { passive: false });
}

/** @param {HeatMap} map @param {KeyboardEvent} event */
function press(map, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { rows, columns } = map.shown.source;
  const [q, k] = map.cursor;
  const far = (event.shiftKey ? 10 : 1) * map.block;
  const moves = { ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far] };
  if (event.key in moves) {
    event.preventDefault();
    const [dq, dk] = moves[event.key];
    const [to, at] = [Math.max(0, Math.min(rows - 1, q + dq)), Math.max(0, Math.min(columns - 1, k + dk))];
    const [high, wide] = map.room;
    if (to < map.top || to >= map.top + high || at < map.left || at >= map.left + wide) map.centre(to, at);
    map.point(to, at);
  } else if (event.key === "Enter") map.options.pick?.(q, k);
  else if (event.key === "+" || event.key === "=") map.zoom(1.6);
  else if (event.key === "-") map.zoom(1 / 1.6);
  else if (event.key === "0") map.fit();
}
