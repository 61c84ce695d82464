// Asks the model and follows its answer: text, tokens, speed, and why it ended.
import { answer } from "./api.js";
import { $ } from "./dom.js";
import { messages } from "./media.js";
import { t } from "./text.js";

// Fills `turn` with the answer to `turns`; `changed` is called at most once a frame. Never throws:
// what went wrong is turn.error. Gives the HTTP status of a refusal.
export async function follow(turn, turns, { system, ...settings }, signal, changed) {
	const began = performance.now();
	const since = () => (performance.now() - began) / 1000;
	const stats = turn.stats = { out: 0, guessed: true };
	let frame, status;
	try {
		const request = { ...settings, messages: await messages(turns, system) };
		for await (const { text, thinking, finish, usage } of answer(request, signal)) {
			turn.text += text;
			turn.thinking = (turn.thinking ?? "") + thinking;
			if (finish === "length") turn.ended = "atLimit";
			if (text || thinking) {
				stats.first ??= since();
				stats.out += 1; // about one token each, until the server's count comes
				stats.seconds = since() - stats.first;
			}
			if (usage) Object.assign(stats, { guessed: false, into: usage.prompt_tokens, out: usage.completion_tokens });
			readOut(text);
			frame ??= requestAnimationFrame(() => {
				frame = undefined;
				changed();
			});
		}
	} catch (error) {
		if (signal.aborted) turn.ended = "stopped";
		else turn.error = message(error);
		status = error.status;
	}
	readOut("", true);
	return status;
}

// fetch gives a TypeError when nothing answers, or the connection breaks.
export const message = (error) => error instanceof TypeError ? t("offline") : error.message || t("cut");

let unread = "";

// For screen readers, a sentence at a time: single tokens would make no sense.
function readOut(text, end) {
	unread += text;
	const at = end ? unread.length : (/[^]*[.!?\n\u3002\uff01\uff1f]/.exec(unread)?.[0].length ?? 0);
	if (at) $("live").textContent = unread.slice(0, at);
	unread = unread.slice(at);
}
