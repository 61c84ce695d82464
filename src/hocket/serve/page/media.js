// Pictures, sounds and videos: what a file is, how it is shown, and the form the API takes it in.
import { newId } from "./chat.js";
import { h, iconButton } from "./dom.js";
import { bytes, clock, t } from "./text.js";

const addresses = new WeakMap(); // bytes -> their blob: address

function address(blob) {
	if (!addresses.has(blob)) addresses.set(blob, URL.createObjectURL(blob));
	return addresses.get(blob);
}

// Gives a part { id, kind, name, type, size, about, blob }, or throws what to tell the user.
export async function part(blob) {
	const { name, type, size } = blob;
	const kind = /^(image|audio|video)\/(?!svg)/.exec(type)?.[1];
	if (!kind) throw new Error(t("notMedia", { name, type: type || "?" }));
	return { id: newId(), kind, name, type, size, blob, ...(await look(kind, blob)) };
}

// What the browser can tell: pixels or length. A container of video may hold sound only.
async function look(kind, blob) {
	if (kind === "image") {
		const bitmap = await createImageBitmap(blob).catch(() => undefined);
		return { about: bitmap ? `${bitmap.width} \u00d7 ${bitmap.height}` : "" };
	}
	const player = h("video", { preload: "metadata", src: address(blob) });
	const known = await new Promise((done) => {
		player.onloadedmetadata = () => done(true);
		player.onerror = () => done(false);
		setTimeout(done, 3000, false);
	});
	const about = Number.isFinite(player.duration) ? clock(player.duration) : "";
	return { about, kind: known && !player.videoWidth ? "audio" : kind };
}

// One of a message's media: with `remove`, small and with a button for it; else as a player.
export function show(part, remove) {
	const about = [part.about, bytes(part.size)].filter(Boolean).join(" \u00b7 ");
	const label = h("span", { class: "about", title: part.name }, h("b", {}, part.name), h("span", {}, about));
	const node = h("li", { class: `part ${part.kind}` }, body(part, Boolean(remove)), label);
	if (remove) node.append(iconButton("close", remove, t("remove", part)));
	return node;
}

function body({ kind, name, blob }, small) {
	if (!blob) return h("p", {}, t("notKept"));
	const src = address(blob);
	if (kind !== "image") return h(kind, { controls: kind === "audio" || !small, preload: "metadata", src, "aria-label": name });
	const picture = h("img", { src, alt: name });
	return small ? picture : h("a", { href: src, target: "_blank" }, picture);
}

export function dataUrl(blob) {
	return new Promise((done, failed) => {
		const reader = new FileReader();
		reader.onload = () => done(reader.result);
		reader.onerror = () => failed(reader.error);
		reader.readAsDataURL(blob);
	});
}

async function sendable({ kind, name, type, blob }) {
	if (!blob) throw new Error(t("cannotSend", { name }));
	const url = await dataUrl(blob);
	if (kind !== "audio") return { type: `${kind}_url`, [`${kind}_url`]: { url } };
	const format = type.replace(/^\w+\/(x-|vnd\.)?/, "").replace("mpeg", "mp3").replace("wave", "wav");
	return { type: "input_audio", input_audio: { data: url.split(",")[1], format } };
}

// The turns as the API's messages: media before the text, in the order they were attached.
export async function messages(turns, system) {
	const found = system ? [{ role: "system", content: system }] : [];
	for (const { role, text, parts = [] } of turns) {
		if (!text && !parts.length) continue; // an answer that failed
		const media = await Promise.all(parts.map(sendable));
		const content = media.length ? [...media, ...(text ? [{ type: "text", text }] : [])] : text;
		found.push({ role, content });
	}
	return found;
}
