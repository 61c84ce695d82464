// Puts the words where they belong, in the language of the browser or of the switch.
import words from "./words.js";

let column;

export const t = (key, values = {}) => (words[key]?.[column] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);

export function speak(language) {
	column = language === "zh" ? 1 : 0;
	document.documentElement.lang = ["en", "zh-Hans"][column];
	for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
	for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = t(node.dataset.hint);
	for (const node of document.querySelectorAll("[data-label]")) node.title = node.ariaLabel = t(node.dataset.label);
}

export function bytes(count) {
	return count < 1e6 ? `${(count / 1e3).toFixed(count < 1e4 ? 1 : 0)} kB` : `${(count / 1e6).toFixed()} MB`;
}

export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
