// Keeps chats and their media in this browser (IndexedDB). A chat is one record; each picture, sound
// or video is another, so that saving text stays cheap.
export const MOST_MEDIA = 300e6; // bytes of media kept; over it a chat keeps its text, and says so

let database;

export async function open() {
	database = await new Promise((done, failed) => {
		const request = indexedDB.open("hocket", 1);
		request.onupgradeneeded = () => {
			request.result.createObjectStore("chats", { keyPath: "id" });
			request.result.createObjectStore("media", { keyPath: "id" }).createIndex("chat", "chat");
		};
		request.onsuccess = () => done(request.result);
		request.onerror = () => failed(request.error);
	});
}

// A private window may have no database: then nothing is found or kept.
function use(name, act, mode = "readwrite") {
	return !database ? Promise.resolve([]) : new Promise((done, failed) => {
		const work = database.transaction(name, mode);
		const request = act(work.objectStore(name));
		work.oncomplete = () => done(request?.result);
		work.onabort = () => failed(work.error);
	});
}

const find = (name, act) => use(name, act, "readonly");

export const allParts = (chat) => [...chat.nodes.flatMap((node) => node.parts ?? []), ...chat.draft];

export const chats = async () => (await find("chats", (store) => store.getAll())).sort((a, b) => b.updated - a.updated);

// In memory a part has its bytes, as part.blob; as JSON it goes without.
export const bare = (name, value) => (name === "blob" ? undefined : value);

export const save = (chat) => use("chats", (store) => store.put(JSON.parse(JSON.stringify(chat, bare))));

// Keeps a part's bytes; gives false when all would be over what is kept.
export async function keep({ id, blob }, chat) {
	const all = await find("media", (store) => store.getAll());
	if (all.reduce((sum, each) => sum + each.blob.size, blob.size) > MOST_MEDIA) return false;
	await use("media", (store) => store.put({ id, chat: chat.id, blob }));
	return true;
}

export async function fill(chat) {
	const kept = await find("media", (store) => store.index("chat").getAll(chat.id));
	for (const part of allParts(chat)) part.blob ??= kept.find(({ id }) => id === part.id)?.blob;
	return chat;
}

export const drop = (ids) => use("media", (store) => ids.forEach((id) => store.delete(id)));

export async function remove(id) {
	await drop(await find("media", (store) => store.index("chat").getAllKeys(id)));
	await use("chats", (store) => store.delete(id));
}
