// A spoken dialogue: the microphone goes to /v1/duplex; text, and speech where there is some, come
// back. Model, system prompt, sampling, language and key are those of the chat page.
import { key } from "./api.js";
import { $, clearNotice, h, notice } from "./dom.js";
import { render } from "./markdown.js";
import { remember, sampling, settings } from "./settings.js";
import { speak, t } from "./text.js";
import words from "./words.js";

Object.assign(words, {
	talkHello: ["Talk with the model", "与模型对话"],
	talkHint: ["Speak, and pause for the answer. You may interrupt it. Headphones keep it from hearing itself.", "请说话，停顿后会得到回答，可以随时打断。建议佩戴耳机。"],
	talkStart: ["Start talking", "开始通话"],
	talkEnd: ["End", "结束"],
	talkWrite: ["Or write…", "或输入文字…"],
	talkClosed: ["The talk ended: {why}", "通话已结束：{why}"],
	talkRefused: ["the server does not answer, or wants the key that the chat page asks for", "服务器没有响应，或需要在对话页面输入密钥"],
	talkSilent: ["This server does not read answers aloud.", "此服务器不朗读回答。"],
	spoken: ["Spoken, {n} s", "语音 {n} 秒"],
	listening: ["Listening", "聆听中"],
	hearing: ["Hearing you", "正在听您说"],
	deciding: ["Thinking", "思考中"],
	answering: ["Answering", "回答中"],
	interrupted: ["Hearing you", "正在听您说"],
	cutOff: ["Interrupted.", "已打断。"],
});

let talk; // what goes on: { link, devices, ready, ended }
let turn; // the answer on show: { answer, node, text, done }
let begun; // seconds at which somebody began to speak
let heard = 0; // seconds of the last question
let written = ""; // the last question, where it was written
let rate = 0; // samples per second of speech
let next = 0; // when the next sentence may begin
const playing = new Set();

const say = (message) => talk?.link.readyState === WebSocket.OPEN && talk.link.send(message);

const TAKES = {
	ready({ speech_rate: found }) {
		talk.ready = true;
		if (talk.silent) notice(t("talkSilent"), { id: "talk" });
		rate = found;
		show("listening");
	},
	phase: ({ phase }) => show(phase),
	speech_started({ at_s: at }) {
		begun ??= at;
	},
	speech_ended({ at_s: at }) {
		heard = at - (begun ?? at);
	},
	ignored() {
		begun = undefined;
	},
	answer_started({ answer, state }) {
		hush();
		const spoken = state !== "written" && !written;
		add("user", h("p", { class: "said" }, spoken ? t("spoken", { n: heard.toFixed(1) }) : written));
		turn = { answer, text: "", node: h("div", { class: "text" }) };
		add("assistant", h("h2", {}, $("model").textContent), turn.node);
		[begun, written] = [undefined, ""];
		$("hush").hidden = false;
	},
	text({ text }) {
		turn.text += text;
		render(turn.text, turn.node);
		$("thread").scrollTop = $("thread").scrollHeight;
	},
	held: () => volume(.2),
	resumed: () => volume(1),
	interrupted({ answer }) {
		if (turn?.answer !== answer) return; // it had not begun
		hush();
		turn.node.after(h("p", { class: "soft" }, t("cutOff")));
		$("hush").hidden = true;
	},
	answer_ended() {
		turn.done = true;
		$("hush").hidden = !rate;
	},
	error: ({ message }) => notice(message),
};

function add(role, ...nodes) {
	$("empty").hidden = true;
	$("turns").append(h("li", { class: `turn ${role}` }, ...nodes));
}

function show(phase) {
	$("phase").textContent = phase && t(phase);
	$("phase").dataset.phase = phase;
}

function volume(part) {
	talk.devices.volume.gain.value = part;
}

function hush() {
	for (const source of playing) source.stop();
	playing.clear();
	next = 0;
	volume(1);
}

function play(bytes) {
	const { player, volume } = talk.devices;
	const samples = Float32Array.from(new Int16Array(bytes), (each) => each / 32768);
	const source = new AudioBufferSourceNode(player, { buffer: new AudioBuffer({ length: samples.length, sampleRate: rate }) });
	source.buffer.copyToChannel(samples, 0);
	source.connect(volume);
	next = Math.max(next, player.currentTime);
	source.start(next);
	next += source.buffer.duration;
	playing.add(source);
	source.onended = () => {
		playing.delete(source);
		if (turn.done && !playing.size) $("hush").hidden = true;
	};
}

// Opens the microphone; `hear` gets its samples. Gives { player, volume, drop }.
async function open(hear) {
	if (!navigator.mediaDevices) throw new Error(t("needsHttps"));
	const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true } });
	const context = new AudioContext(), player = new AudioContext();
	const drop = () => {
		for (const track of stream.getTracks()) track.stop();
		context.close();
		player.close();
	};
	try {
		await context.audioWorklet.addModule("page/listen.js");
		const listener = new AudioWorkletNode(context, "listen");
		listener.port.onmessage = ({ data }) => hear(data);
		// It gives silence; what leads nowhere is not run.
		context.createMediaStreamSource(stream).connect(listener).connect(context.destination);
		const volume = new GainNode(player);
		volume.connect(player.destination);
		return { player, volume, drop };
	} catch (error) {
		drop();
		throw error;
	}
}

function hear(samples) {
	if (!talk?.ready) return;
	say(samples.buffer);
	const power = samples.reduce((sum, each) => sum + each * each, 0) / samples.length / 32768 ** 2;
	// Loudness as it is heard: -60 dB is 0 and full scale is 1.
	$("level").value = Math.max(0, 1 + Math.log10(power + 1e-9) / 6);
}

function connect(speech) {
	const address = new URL("v1/duplex", location.href);
	address.protocol = address.protocol.replace("http", "ws");
	const secret = key.get();
	const link = new WebSocket(address, secret ? ["realtime", `openai-insecure-api-key.${secret}`] : []);
	link.binaryType = "arraybuffer";
	link.onopen = () => link.send(JSON.stringify({ ...sampling(), type: "start", model: settings.model, speech }));
	link.onmessage = ({ data }) => {
		if (typeof data !== "string") return play(data);
		const event = JSON.parse(data);
		TAKES[event.type]?.(event);
	};
	link.onclose = ({ code, reason }) => {
		if (talk?.link !== link) return;
		// A server without a voice says so before anything else.
		if (speech && !talk.ready && code === 1003) {
			[talk.link, talk.silent] = [connect(false), true];
			return;
		}
		end();
		notice(t("talkClosed", { why: reason || t("talkRefused") }), { id: "talk" });
	};
	return link;
}

async function start() {
	clearNotice("talk");
	$("go").disabled = true;
	try {
		talk = { devices: await open(hear) };
		talk.link = connect(true);
		$("say").disabled = false;
		$("go").textContent = t("talkEnd");
	} catch (error) {
		end();
		notice(t("noDevice", { why: error.message }), { id: "talk" });
	}
	$("go").disabled = false;
}

function end() {
	const { link, devices } = talk ?? {};
	if (devices) hush();
	talk = begun = undefined;
	link?.close();
	devices?.drop();
	show("");
	[$("say").disabled, $("hush").hidden, $("level").value] = [true, true, 0];
	$("go").textContent = t("talkStart");
}

remember({});
speak(settings.language);
$("model").textContent = settings.model;
$("go").onclick = () => (talk ? end() : start());
$("hush").onclick = () => {
	hush();
	say('{"type":"stop"}');
	$("hush").hidden = true;
};
$("composer").onsubmit = (event) => {
	event.preventDefault();
	written = $("say").value.trim();
	if (!written) return;
	$("say").value = "";
	say(JSON.stringify({ type: "text", text: written }));
};
document.onkeydown = ({ key: pressed }) => {
	if (pressed === "Escape" && talk) $("hush").hidden ? end() : $("hush").click();
};
document.documentElement.dataset.ready = "";
