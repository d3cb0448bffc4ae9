"use strict";
// Players of a report's episodes: each moves the agent of its picture in step with its sound.

/** The observation that is heard after so many seconds. */
function observationAt(seconds, stepSeconds, last) {
  return Math.max(0, Math.min(last, Math.floor(seconds / stepSeconds + 1e-6)));
}

/** Sums of each reward term over the actions before observation t. */
function sumsBefore(rewards, t) {
  const sums = {};
  for (const terms of rewards.slice(0, t)) {
    for (const [name, value] of Object.entries(terms)) sums[name] = (sums[name] || 0) + value;
  }
  return sums;
}

/** What the picture does not say, as text. */
function factsAt(data, t) {
  const last = data.actions.length;
  const sounding = data.distances_m[t].filter((_, s) => data.active[t][s]);
  const led = t ? `after "${data.action_names[data.actions[t - 1]]}"` : "at the start";
  const next = t < last ? `next: "${data.action_names[data.actions[t]]}"` : "the episode is over";
  const near = sounding.length ? `, the nearest ${Math.min(...sounding).toFixed(2)} m away` : "";
  const from = t * data.step_seconds;
  return `Step ${t} of ${last}, ${from.toFixed(1)} s to ${(from + data.step_seconds).toFixed(1)} s: ${led}; ` +
    `${sounding.length} of ${data.active[t].length} sources sound${near}; ${next}.`;
}

/** Rows of the table of rewards: name, of the last action, sum so far. */
function termRows(data, t) {
  const names = data.rewards.length ? Object.keys(data.rewards[0]) : [];
  const sums = sumsBefore(data.rewards, t);
  const now = t ? data.rewards[t - 1] : {};
  const rows = names.map((name) => [name, t ? now[name] : null, sums[name] || 0]);
  const total = (column) => rows.reduce((sum, row) => sum + row[column], 0);
  return [...rows, ["total", t ? total(1) : null, total(2)]];
}

function fillTable(table, head, rows, marked) {
  const lines = [head, ...rows].map((cells, i) => {
    const line = document.createElement("tr");
    if (marked !== undefined && i === marked + 1) line.className = "taken";
    for (const cell of cells) {
      const box = document.createElement(i ? "td" : "th");
      box.textContent = typeof cell === "number" ? cell.toFixed(2) : cell === null ? "-" : cell;
      line.append(box);
    }
    return line;
  });
  table.replaceChildren(...lines);
}

// Many servers send no parts of files, and then a browser cannot jump; in what has been fetched whole it can.
const fetched = new Map();
async function addressOf(file) {
  if (!location.protocol.startsWith("http")) return file;
  if (!fetched.has(file)) fetched.set(file, fetch(file).then((answer) => answer.blob()));
  return URL.createObjectURL(await fetched.get(file));
}

function startPlayer(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const [audio, slider, button] = [part("audio"), part("slider"), part("play")];
  const last = data.actions.length;

  function show(t) {
    slider.value = t;
    const [x, y] = data.positions_m[t];
    part("agent").setAttribute("transform", `translate(${x} ${y}) rotate(${data.headings_deg[t]})`);
    part("way").setAttribute("points", data.positions_m.slice(0, t + 1).map((p) => p.join(",")).join(" "));
    data.active[t].forEach((on, s) => {
      root.querySelector(`[data-source="${s}"]`).setAttribute("class", on ? "on" : "off");
    });
    part("facts").textContent = factsAt(data, t);
    fillTable(part("terms"), ["reward", "of this step", "so far"], termRows(data, t));
    if (data.q_values) {
      const values = t < last ? data.q_values[t] : data.action_names.map(() => null);
      const rows = data.action_names.map((name, a) => [name, values[a], a === data.actions[t] ? "taken" : ""]);
      fillTable(part("values"), ["action", "Q-value", "next"], rows, data.actions[t]);
    }
  }

  let shown = -1;
  function follow() {
    const t = observationAt(audio.currentTime, data.step_seconds, last);
    if (t !== shown) show((shown = t));
  }
  function followOn() {
    follow();
    if (!audio.paused) requestAnimationFrame(followOn);
  }
  let wanted = null;
  async function listen(file) {
    wanted = file;
    const address = await addressOf(file);
    if (wanted !== file) return;
    const [seconds, playing] = [audio.currentTime, !audio.paused];
    audio.src = address;
    audio.currentTime = seconds; // kept until the file is read
    audio.playbackRate = part("speed").value;
    if (playing) audio.play();
  }

  slider.addEventListener("input", () => {
    audio.currentTime = Number(slider.value) * data.step_seconds;
    show((shown = Number(slider.value)));
  });
  button.addEventListener("click", () => (audio.paused ? audio.play() : audio.pause()));
  audio.addEventListener("play", followOn);
  audio.addEventListener("seeked", follow);
  audio.addEventListener("timeupdate", follow);
  for (const event of ["play", "pause", "ended"]) {
    audio.addEventListener(event, () => (button.textContent = audio.paused ? "Play" : "Pause"));
  }
  part("sound").addEventListener("change", (event) => listen(event.target.value));
  part("speed").addEventListener("change", (event) => (audio.playbackRate = event.target.value));
  listen(part("sound").value);
  follow();
}

document.querySelectorAll(".playback").forEach(startPlayer);
