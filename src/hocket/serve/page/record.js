// The microphone, as a WAV file of 16-bit samples at 16 kHz, and the camera, as a JPEG.
const RATE = 16000;
export const LONGEST = 600; // seconds: what the server takes

// Starts the microphone; `heard` gets the level, 0 to 1, and the seconds so far, on every frame.
// Gives { keep, drop }: both end it, and keep() gives the file.
export async function record(heard) {
	const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
	const context = new AudioContext();
	const meter = context.createAnalyser();
	context.createMediaStreamSource(stream).connect(meter);
	const recorder = new MediaRecorder(stream);
	const began = performance.now(), wave = new Float32Array(meter.fftSize);
	let whole;
	recorder.ondataavailable = ({ data }) => { whole = data; };
	recorder.start();
	const look = () => {
		if (recorder.state === "inactive") return;
		meter.getFloatTimeDomainData(wave);
		const power = wave.reduce((sum, each) => sum + each * each, 0) / wave.length;
		// Loudness as it is heard: -60 dB is 0 and full scale is 1.
		heard(Math.max(0, 1 + Math.log10(power + 1e-9) / 6), (performance.now() - began) / 1000);
		requestAnimationFrame(look);
	};
	look();
	const drop = () => new Promise((done) => {
		recorder.onstop = done;
		recorder.stop();
		stop(stream);
		context.close();
	});
	return { drop, keep: () => drop().then(() => wav(whole)) };
}

// Browsers record WebM or MP4, which few servers take.
async function wav(blob) {
	const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
	const samples = Int16Array.from(sound.getChannelData(0), (each) => Math.max(-1, Math.min(1, each)) * 32767);
	const size = samples.byteLength;
	// "RIFF", size, "WAVE", "fmt ", 16, PCM in 1 channel, rate, bytes/s, 2 bytes of 16 bits, "data", size
	const head = [0x46464952, 36 + size, 0x45564157, 0x20746d66, 16, 0x10001, RATE, 2 * RATE, 0x100002, 0x61746164, size];
	return new Blob([new Uint32Array(head), samples], { type: "audio/wav" });
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());

// Shows the camera in a <video>; gives { take, drop }.
export async function watch(video) {
	const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: 1280 } });
	video.srcObject = stream;
	const take = () => {
		const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
		canvas.getContext("2d").drawImage(video, 0, 0);
		return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
	};
	return { take, drop: () => stop(stream) };
}
