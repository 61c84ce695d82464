// Shows Markdown as DOM nodes. What a model writes is never parsed as HTML: every piece of it becomes
// a text node, and only http(s) addresses become links.
import { copyButton, h } from "./dom.js";

const DEEPEST = 8; // quotes, lists and marks inside each other
const FURTHEST = 1000; // characters from an opening mark to its closing one: keeps the work linear
const MOST_CELLS = 3000; // of a table; a larger one stays text

const FENCE = /^ {0,3}(```+|~~~+) *([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6}) +(.*)/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)(?:[-*+]|(\d{1,9})[.)]) +/;
const READERS = [fence, heading, rule, quote, list, table];

const drawn = new WeakMap(); // node -> the source it shows

// Makes `into` show `source`. Blocks that did not change keep their nodes.
export function render(source, into) {
	const found = blocks(source.split("\n"), 0);
	found.forEach(({ raw, draw, code, language }, at) => {
		const old = into.children[at];
		if (old && drawn.get(old) === raw) return;
		let node = old;
		if (code !== undefined && old?.className === "code") {
			old.querySelector("code").textContent = code;
			old.querySelector("span").textContent = language;
		} else {
			node = draw();
			old ? old.replaceWith(node) : into.append(node);
		}
		drawn.set(node, raw);
	});
	while (into.children.length > found.length) into.lastChild.remove();
}

// A reader gives nothing, or { to, draw }: the line after the block, and what makes its node.
function blocks(lines, depth) {
	const found = [];
	for (let at = 0; at < lines.length;) {
		if (lines[at].trim()) {
			const block = starts(lines, at, depth) || paragraph(lines, at, depth);
			found.push({ ...block, raw: lines.slice(at, block.to).join("\n") });
			at = block.to;
		} else {
			at += 1;
		}
	}
	return found;
}

function starts(lines, at, depth) {
	if (depth >= DEEPEST) return;
	for (const read of READERS) {
		const block = read(lines, at, depth);
		if (block) return block;
	}
}

function fill(node, lines, depth) {
	node.append(...blocks(lines, depth + 1).map(({ draw }) => draw()));
	return node;
}

function paragraph(lines, at, depth) {
	let to = at + 1;
	while (lines[to]?.trim() && !starts(lines, to, depth)) to += 1;
	const text = lines.slice(at, to).map((each) => each.trim()).join("\n");
	return { to, draw: () => inline(text, h("p")) };
}

function fence(lines, at) {
	const [, mark, language] = FENCE.exec(lines[at]) ?? [];
	if (!mark) return;
	let end = at + 1;
	while (end < lines.length && !lines[end].trim().startsWith(mark)) end += 1;
	const code = lines.slice(at + 1, end).join("\n");
	const draw = () => {
		const text = h("code", {}, code);
		const head = h("figcaption", {}, h("span", {}, language), copyButton(() => text.textContent));
		return h("figure", { class: "code" }, head, h("pre", { tabindex: 0 }, text));
	};
	return { to: end + 1, draw, code, language };
}

function heading(lines, at) {
	const [, marks, text] = HEADING.exec(lines[at]) ?? [];
	// The page has h1 and h2 of its own.
	return marks && { to: at + 1, draw: () => inline(text, h(`h${Math.min(6, Math.max(3, marks.length + 1))}`)) };
}

function rule(lines, at) {
	return RULE.test(lines[at]) && { to: at + 1, draw: () => h("hr") };
}

function quote(lines, at, depth) {
	let to = at;
	while (QUOTE.test(lines[to] ?? "")) to += 1;
	const inner = lines.slice(at, to).map((each) => each.replace(QUOTE, ""));
	return to > at && { to, draw: () => fill(h("blockquote"), inner, depth) };
}

function list(lines, at, depth) {
	const [, margin, first] = ITEM.exec(lines[at]) ?? [];
	if (margin === undefined) return;
	// What a line is to this list: another item, more of the last one, or nothing.
	const role = (line) => {
		const item = ITEM.exec(line);
		if (item && item[1].length <= margin.length) return !item[2] === !first && item;
		return line.search(/\S/) > margin.length && "more";
	};
	const items = [];
	let to = at, width;
	for (let next = at; next < lines.length; next += 1) {
		if (!lines[next].trim()) continue;
		const found = role(lines[next]);
		if (!found) break;
		if (found === "more") {
			const strip = Math.min(width, lines[next].search(/\S/));
			items.at(-1).push(...lines.slice(to, next), lines[next].slice(strip));
		} else {
			width = found[0].length;
			items.push([lines[next].slice(width)]);
		}
		to = next + 1;
	}
	const tag = first ? "ol" : "ul";
	return { to, draw: () => h(tag, first ? { start: first } : {}, ...items.map((each) => item(each, depth))) };
}

function item(lines, depth) {
	const node = fill(h("li"), lines, depth);
	// Without a gap inside, its text needs no paragraph.
	if (node.firstChild?.tagName === "P" && !lines.includes("", 1)) node.firstChild.replaceWith(...node.firstChild.childNodes);
	return node;
}

function cells(line) {
	const found = line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/);
	return found.map((each) => each.trim().replaceAll("\\|", "|"));
}

// A table's second line is like "|---|:-:|": there a colon says where the column's text stands.
function table(lines, at) {
	if (!lines[at].includes("|") || !lines[at + 1]?.includes("-")) return;
	const marks = cells(lines[at + 1]);
	if (!marks.every((each) => /^:?-+:?$/.test(each)) || marks.length !== cells(lines[at]).length) return;
	let to = at + 2;
	while (lines[to]?.includes("|")) to += 1;
	const rows = lines.slice(at, to).filter((_, i) => i !== 1);
	if (rows.length * marks.length > MOST_CELLS) return;
	const sides = marks.map((each) => (each.endsWith(":") ? (each.startsWith(":") ? "mid" : "right") : ""));
	const row = (line, i) => {
		const texts = cells(line);
		return h("tr", {}, ...sides.map((side, j) => inline(texts[j] ?? "", h(i ? "td" : "th", { class: side }))));
	};
	const draw = () => h("div", { class: "wide-table", tabindex: 0 }, h("table", {}, ...rows.map(row)));
	return { to, draw };
}

// Adds a line's text to a node: code, links, bold, italics, struck. A mark without its end is text.
function inline(text, into, depth = 0) {
	let plain = "";
	for (let at = 0; at < text.length;) {
		const found = (depth < DEEPEST && special(text, at, depth)) || { to: at + 1 };
		if (found.node) {
			into.append(plain, found.node);
			plain = "";
		} else {
			plain += found.text ?? text.slice(at, found.to);
		}
		at = found.to;
	}
	into.append(plain);
	return into;
}

// Gives nothing, or { to } with the node or text for what is passed over.
function special(text, at, depth) {
	switch (text[at]) {
		case "\n": return { to: at + 1, node: h("br") };
		case "\\": return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") && { to: at + 2, text: text[at + 1] };
		case "`": return codeSpan(text, at);
		case "[": return link(text, at, depth);
		case "!": return link(text, at + 1, depth); // pictures are not loaded
		case "h": return address(text, at);
		case "*": case "_": case "~": return emphasis(text, at, depth);
	}
}

function codeSpan(text, at) {
	const ticks = /^`+/.exec(text.slice(at, at + FURTHEST))[0];
	const start = at + ticks.length;
	const length = text.slice(start, start + FURTHEST).indexOf(ticks);
	if (length < 0) return { to: start };
	return { to: start + length + ticks.length, node: h("code", {}, text.slice(start, start + length).trim()) };
}

function link(text, at, depth) {
	const whole = /^\[([^[\]]*)\]\(<?((?:[^\s()<>]|\([^\s()<>]*\))+)>?(?:\s+"[^"]*")?\)/.exec(text.slice(at, at + FURTHEST));
	const node = whole && anchor(whole[2], inline(whole[1] || whole[2], h("span"), depth + 1));
	return node && { to: at + whole[0].length, node };
}

function address(text, at) {
	const whole = /^https?:\/\/(?:[^\s<>"`|\\()\u3000-\u303f\uff00-\uffef]|\([^\s()<>]*\))+/.exec(text.slice(at, at + FURTHEST));
	const bare = !/\w/.test(text[at - 1] ?? "") && whole?.[0].replace(/[.,;:!?'*_~\]]{1,9}$/, "");
	const node = bare && anchor(bare, bare);
	return node && { to: at + bare.length, node };
}

function anchor(address, label) {
	const { href, protocol } = URL.canParse(address) ? new URL(address) : {};
	return /^https?:$/.test(protocol) && h("a", { href, title: href, target: "_blank", rel: "noopener noreferrer" }, label);
}

const TAGS = { "**": "strong", __: "strong", "~~": "s", "*": "em", _: "em" };

function emphasis(text, at, depth) {
	const mark = [text.slice(at, at + 2), text[at]].find((each) => each in TAGS);
	if (!mark) return;
	const start = at + mark.length;
	// Within a word only ** and ~~ are marks: 2*3*4 and a_b_c are not.
	const word = mark === "**" || mark === "~~" ? /^$/ : /\w/;
	const near = text.slice(start, start + FURTHEST);
	if (/^\s/.test(near) || word.test(text[at - 1] ?? " ")) return { to: start };
	for (let end = near.indexOf(mark, 1); end > 0; end = near.indexOf(mark, end + 1)) {
		const after = near[end + mark.length] ?? " ";
		if (mark.length === 1 && after === mark) end += 1; // ** inside *...*
		else if (!/\s/.test(near[end - 1]) && !word.test(after)) {
			// The last of a run closes: ***a*** is *a* within **...**.
			const last = after === mark[0] ? end + 1 : end;
			return { to: start + last + mark.length, node: inline(near.slice(0, last), h(TAGS[mark]), depth + 1) };
		}
	}
	return { to: start };
}
