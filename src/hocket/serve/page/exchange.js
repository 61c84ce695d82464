// Chats out of the browser and back: JSON with the media inside, and Markdown to read.
import { h } from "./dom.js";
import { name, newChat, newId, path } from "./chat.js";
import { dataUrl } from "./media.js";
import { allParts, bare } from "./store.js";
import { bytes, t } from "./text.js";

export function download(chat, ending, text) {
	const file = name(chat, "hocket").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
	const href = URL.createObjectURL(new Blob([text]));
	h("a", { href, download: `${file}.${ending}` }).click();
	setTimeout(URL.revokeObjectURL, 60000, href);
}

// Gives the text of a file that `read` takes: media stand in it by id, as data: addresses.
export async function json(chats) {
	const media = {};
	for (const { id, blob } of chats.flatMap(allParts)) if (blob) media[id] = await dataUrl(blob);
	return JSON.stringify({ hocket: 1, chats, media }, bare);
}

export function markdown(chat) {
	const turns = path(chat).map(({ role, parts = [], model, text, error }) => {
		const media = parts.map((each) => `*[${t(each.kind)}: ${each.name}, ${bytes(each.size)}]*\n\n`).join("");
		return `## ${role === "user" ? t("you") : model}\n\n${media}${text}${error ? `\n\n> ${error}` : ""}\n`;
	});
	return `# ${name(chat, t("newChat"))}\n\n${turns.join("\n")}`;
}

// Reads a file that `json` wrote, which may come from anybody. Throws on what cannot be shown.
// Chats get new ids: none here is written over.
export async function read(file) {
	const { hocket, chats, media } = JSON.parse(file);
	if (hocket !== 1) throw new Error(t("notOurs"));
	for (const chat of chats) {
		const ids = new Set([""]);
		for (const node of chat.nodes) {
			// A parent comes before its children, so turns never go round in a ring.
			const known = ["user", "assistant"].includes(node.role) && typeof node.text === "string" && ids.has(node.parent) && !ids.has(node.id);
			if (!known) throw new Error(t("notOurs"));
			ids.add(node.id);
		}
		Object.assign(chat, { ...newChat(), ...chat, id: newId(), title: String(chat.title ?? "") });
		for (const part of allParts(chat)) {
			const kind = /^(image|audio|video)$/.exec(part.kind)?.[0] ?? "image";
			const [, data] = media[part.id]?.split(",") ?? [];
			part.id = newId();
			// A blob: address has this page's origin: none may be a document.
			part.type = `${kind}/${/^\w+\/([\w.-]+)$/.exec(part.type)?.[1] ?? "any"}`;
			part.blob = data && new Blob([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], { type: part.type });
		}
	}
	return chats;
}
