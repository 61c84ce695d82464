// Runs beside the page: gives what a microphone hears as 16-bit samples at 16 kHz, 20 ms at a time.
const RATE = 16000, PIECE = 320;

registerProcessor("listen", class extends AudioWorkletProcessor {
	piece = new Int16Array(PIECE);
	filled = 0;
	sum = 0;
	count = 0;
	phase = 0;

	// A sample at 16 kHz is the mean of those that fall into its time.
	process([[wave]]) {
		for (const each of wave ?? []) {
			this.sum += each;
			this.count += 1;
			this.phase += RATE;
			if (this.phase < sampleRate) continue;
			const mean = Math.max(-1, Math.min(1, this.sum / this.count));
			this.sum = this.count = 0;
			for (; this.phase >= sampleRate; this.phase -= sampleRate) this.put(32767 * mean);
		}
		return true;
	}

	put(sample) {
		this.piece[this.filled] = sample;
		this.filled += 1;
		if (this.filled < PIECE) return;
		this.filled = 0;
		this.port.postMessage(this.piece.slice());
	}
});
