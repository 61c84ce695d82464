// What is remembered in this browser: model, sampling, theme, language.
import { key } from "./api.js";
import { $, h } from "./dom.js";

const NUMBERS = { temperature: 2, top_p: 1, max_tokens: 1e6, seed: 2 ** 53 }; // and their largest values
const SAMPLING = { system: "", temperature: "", top_p: "", max_tokens: "", seed: "" };

export const settings = {
	...SAMPLING, model: "", theme: "", language: navigator.language.startsWith("zh") ? "zh" : "en", ...JSON.parse(localStorage.getItem("hocket.settings")),
};

export function remember(fields) {
	Object.assign(settings, fields);
	localStorage.setItem("hocket.settings", JSON.stringify(settings));
	document.documentElement.dataset.theme = settings.theme;
}

// What goes with a request; a field left empty is the server's to choose.
export function sampling() {
	const set = Object.keys(NUMBERS).filter((name) => settings[name] !== "");
	return { system: settings.system.trim(), ...Object.fromEntries(set.map((name) => [name, Number(settings[name])])) };
}

// Fills the forms of the panel and follows them; `changed` gets the name of a field of the second.
export function setUp(changed) {
	remember({});
	for (const [name, max] of Object.entries(NUMBERS)) {
		const field = h("input", { type: "number", name, min: 0, max, step: "any", "data-hint": "auto" });
		$("numbers").append(h("label", {}, h("span", { "data-t": name }), field));
	}
	const first = $("sampling"), second = $("look");
	for (const field of [...first, ...second]) field.value = settings[field.name] ?? "";
	second.elements.key.value = key.get();
	first.oninput = ({ target }) => remember({ [target.name]: target.value });
	first.onreset = () => remember(SAMPLING);
	second.onchange = ({ target }) => {
		if (target.name === "key") key.set(target.value);
		else remember({ [target.name]: target.value });
		changed(target.name);
	};
	first.onsubmit = second.onsubmit = (event) => event.preventDefault();
}
