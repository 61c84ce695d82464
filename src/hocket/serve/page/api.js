// Talks to the server's public API, and to nothing else.

export const key = {
	get: () => sessionStorage.getItem("hocket.key") ?? "",
	set: (value) => sessionStorage.setItem("hocket.key", value),
};

async function call(path, options) {
	const headers = { "Content-Type": "application/json" };
	if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
	const reply = await fetch(path, { ...options, headers });
	if (!reply.ok) throw Object.assign(new Error(words(await reply.text(), reply)), { status: reply.status });
	return reply;
}

// Errors are {"error": {"message": ...}}; a proxy in between may send anything.
function words(body, { status, statusText }) {
	try {
		return JSON.parse(body).error.message.trim();
	} catch {
		return `${status} ${statusText} ${body.slice(0, 300)}`;
	}
}

export async function models() {
	const { data } = await (await call("v1/models")).json();
	return data.map(({ id }) => id);
}

// Yields { text, thinking, finish, usage } with what each piece of an answer has. A stream without
// its "[DONE]" was cut: that is an Error without a message.
export async function* answer(request, signal) {
	const body = JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } });
	const reply = await call("v1/chat/completions", { method: "POST", body, signal });
	for await (const data of events(reply.body)) {
		if (data.startsWith("[DONE]")) return;
		const { error, choices, usage } = JSON.parse(data);
		if (error) throw new Error(error.message);
		const { delta = {}, finish_reason: finish } = choices?.[0] ?? {};
		yield { text: delta.content ?? "", thinking: delta.reasoning_content ?? delta.reasoning ?? "", finish, usage };
	}
	throw new Error();
}

// Yields the data of each server-sent event; comments (": keep-alive") are passed over.
async function* events(stream) {
	const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		const lines = (rest + value).split(/\r?\n/);
		rest = lines.pop();
		for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
	}
}
