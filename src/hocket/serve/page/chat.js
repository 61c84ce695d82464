// A chat as a tree: answering again or editing adds a branch beside the old one, so nothing is lost.
// nodes: [{ id, parent, role, text, parts | model, thinking, stats, error, ended }], parent "" at the
// root, parents before children; picked: parent's id -> the id of the child on show.
export const newId = () => crypto.getRandomValues(new Uint32Array(3)).join("-");

export const newChat = () => ({ id: newId(), title: "", updated: 0, nodes: [], picked: {}, draft: [] });

export const children = (chat, parent) => chat.nodes.filter((node) => node.parent === parent);

// The turns on show, from the root down.
export function path(chat) {
	const found = [];
	for (let parent = ""; ;) {
		const below = children(chat, parent);
		const node = below.find(({ id }) => id === chat.picked[parent]) ?? below.at(-1);
		if (!node) return found;
		found.push(node);
		parent = node.id;
	}
}

export function add(chat, parent, fields) {
	const node = { id: newId(), parent, text: "", ...fields };
	chat.nodes.push(node);
	chat.picked[parent] = node.id;
	return node;
}

// Takes a turn and all below it out; gives the ids of media that nothing shows any more.
export function cut(chat, node) {
	const gone = new Set([node.id]);
	for (const each of chat.nodes) if (gone.has(each.parent)) gone.add(each.id);
	const ids = (nodes) => nodes.flatMap(({ parts = [] }) => parts.map(({ id }) => id));
	const before = ids(chat.nodes);
	chat.nodes = chat.nodes.filter(({ id }) => !gone.has(id));
	// An edited question shares its media with the one it came from.
	const left = new Set(ids(chat.nodes));
	return before.filter((id) => !left.has(id));
}

export function name(chat, fallback) {
	const first = path(chat)[0];
	return chat.title || first?.text.trim().slice(0, 60) || (first?.parts ?? chat.draft)[0]?.name || fallback;
}
