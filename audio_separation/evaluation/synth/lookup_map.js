"use strict";
// The map of a lookup table: points by how they sound, which the pointer or the arrow keys choose and a click plays.

/** The row whose point lies nearest to (x, y), both in the map's [0, 1]. */
function nearestRow(points, x, y) {
  let best = 0, least = Infinity;
  points.forEach(([px, py], row) => {
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [row, distance];
  });
  return best;
}

/** The nearest row in the direction of an arrow key, within 45 degrees of it; the same row where there is none. */
function rowToward(points, from, dx, dy) {
  const [x, y] = points[from];
  let best = from, least = Infinity;
  points.forEach(([px, py], row) => {
    const [along, across] = [(px - x) * dx + (py - y) * dy, (px - x) * dy - (py - y) * dx];
    const distance = along ** 2 + across ** 2;
    if (along > 1e-9 && Math.abs(across) <= along && distance < least) [best, least] = [row, distance];
  });
  return best;
}

/** Place of a value on the scale of colours, which leaves out the outermost hundredths. */
function shadeOf(colour, row) {
  const span = colour.high - colour.low;
  return span > 0 ? Math.max(0, Math.min(1, (colour.values[row] - colour.low) / span)) : 0.5;
}

function shown(number) {
  return Number(number.toPrecision(4)).toString();
}

/** What is known of a row, as text. */
function factsOf(data, row) {
  const params = data.params[row].map((value, i) => `${data.param_names[i]} ${shown(value)}`);
  const values = data.colours.filter((colour) => !data.param_names.includes(colour.name))
    .map((colour) => `${colour.name} ${shown(colour.values[row])}`);
  return `Row ${data.rows[row] + 1}: ${params.join(", ")}; ${values.join(", ")}. ${soundText(data, row)}`;
}

function soundText(data, row) {
  if (!data.sounds.length) return "This page holds no sounds.";
  const sounded = data.sound_rows[data.sound_of[row]];
  if (sounded === row) return "Click, or press Enter, to hear it.";
  return `It has no sound of its own here: a click plays the most similar row that has one, row ${data.rows[sounded] + 1} ` +
    `(${data.params[sounded].map(shown).join(", ")}).`;
}

function startMap(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const [canvas, select] = [part("map"), part("colour")];
  const pen = canvas.getContext("2d");
  const margin = 14;
  let chosen = 0, played = null;

  const across = (x) => margin + x * (canvas.width - 2 * margin);
  const down = (y) => canvas.height - margin - y * (canvas.height - 2 * margin);
  const colour = () => data.colours[select.selectedIndex];

  function ring(row, radius, style) {
    const [x, y] = data.points[row];
    pen.strokeStyle = style;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(across(x), down(y), radius, 0, 2 * Math.PI);
    pen.stroke();
  }
  function draw() {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    data.points.forEach(([x, y], row) => {
      const shade = Math.round(shadeOf(colour(), row) * (data.ramp.length - 1));
      pen.fillStyle = data.ramp[shade];
      const size = data.sounds.length && data.sound_rows[data.sound_of[row]] === row ? 4 : 2.5;
      pen.beginPath();
      pen.arc(across(x), down(y), size, 0, 2 * Math.PI);
      pen.fill();
    });
    if (played !== null) ring(played, 8, "#cc3311");
    ring(chosen, 6, "#222");
    part("low").textContent = shown(colour().low);
    part("high").textContent = shown(colour().high);
  }
  function choose(row) {
    if (row === chosen) return;
    chosen = row;
    draw();
    part("facts").textContent = factsOf(data, chosen);
  }
  function play() {
    if (!data.sounds.length) return;
    played = data.sound_rows[data.sound_of[chosen]];
    part("audio").src = data.sounds[data.sound_of[chosen]];
    part("audio").play();
    draw();
  }
  function rowUnder(event) {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width * canvas.width - margin) / (canvas.width - 2 * margin);
    const y = ((event.clientY - box.top) / box.height * canvas.height - margin) / (canvas.height - 2 * margin);
    return nearestRow(data.points, x, 1 - y);
  }

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  canvas.addEventListener("mousemove", (event) => choose(rowUnder(event)));
  canvas.addEventListener("click", (event) => {
    choose(rowUnder(event));
    play();
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key in arrows) choose(rowToward(data.points, chosen, ...arrows[event.key]));
    else if (event.key === "Enter" || event.key === " ") play();
    else return;
    event.preventDefault();
  });
  select.addEventListener("change", draw);
  part("facts").textContent = factsOf(data, chosen);
  draw();
}

document.querySelectorAll(".lookup").forEach(startMap);
