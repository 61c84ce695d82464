// Asks the run for news and puts in what has changed; sounds that play go on playing.
"use strict";

const EVERY_MS = 3000;
const shown = new Map();
const note = document.getElementById("connection");

async function ask() {
  try {
    const reply = await fetch("news.json", { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    const news = await reply.json();
    for (const [id, html] of Object.entries(news)) {
      const place = document.getElementById(id);
      if (!place || shown.get(id) === html) continue;
      const open = [...place.querySelectorAll("details")].map((one) => one.open);
      place.innerHTML = html;
      place.querySelectorAll("details").forEach((one, at) => { one.open = open[at] ?? one.open; });
      shown.set(id, html);
    }
    note.textContent = "live";
    note.className = "good";
  } catch {
    note.textContent = "no answer: the run starts a stage, or has ended; dashboard.html keeps its page";
    note.className = "away";
  }
  setTimeout(ask, document.hidden ? 10 * EVERY_MS : EVERY_MS);
}

setTimeout(ask, EVERY_MS);
