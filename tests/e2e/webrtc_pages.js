// A publisher and a viewer for tests: a canvas with a clock burned in, and frames read back.
// The clock is 32 blocks of black or white, the least bit first: Unix ms modulo 2^32.
(() => {
  const WIDTH = 640, HEIGHT = 360, BITS = 32, BAR = 40;
  const unixMs = (ms) => performance.timeOrigin + ms;

  function drawClock(context) {
    const now = Math.floor(unixMs(performance.now())) % 2 ** BITS;
    context.fillStyle = '#336';
    context.fillRect(0, 0, WIDTH, HEIGHT);
    context.fillStyle = `hsl(${(now / 20) % 360} 80% 50%)`;
    context.beginPath();
    context.arc(320 + 200 * Math.cos(now / 500), 240 + 60 * Math.sin(now / 300), 30, 0, 7);
    context.fill();
    for (let bit = 0; bit < BITS; bit++) {
      context.fillStyle = Math.floor(now / 2 ** bit) % 2 ? '#fff' : '#000';
      context.fillRect((bit * WIDTH) / BITS, 0, WIDTH / BITS, BAR);
    }
  }

  function readClock(context, video) {
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const row = context.getImageData(0, BAR / 2, WIDTH, 1).data;
    let value = 0;
    for (let bit = 0; bit < BITS; bit++) {
      if (row[Math.floor((bit + 0.5) * (WIDTH / BITS)) * 4] > 128) value += 2 ** bit;
    }
    return value;
  }

  function negotiateCaptureTime(transceiver) {
    const extensions = transceiver.getHeaderExtensionsToNegotiate();
    for (const each of extensions) {
      if (each.uri.endsWith('/abs-capture-time')) each.direction = 'sendrecv';
    }
    transceiver.setHeaderExtensionsToNegotiate(extensions);
  }

  // Without a round-trip time browsers leave `captureTime` out (WICG/video-rvfc#86).
  const askForRoundTrip = (sdp) =>
    sdp.replace(/(a=rtcp-fb:(\d+) nack\r\n)/g, '$1a=rtcp-fb:$2 rrtr\r\n');

  async function exchange(connection, url, headers, mend = (sdp) => sdp) {
    const offer = await connection.createOffer();
    await connection.setLocalDescription({ type: 'offer', sdp: mend(offer.sdp) });
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', ...headers },
      body: connection.localDescription.sdp,
    });
    const body = await answer.text();
    if (answer.status !== 201) throw new Error(`${answer.status} ${body}`);
    await connection.setRemoteDescription({ type: 'answer', sdp: body });
    return { answer: body, location: answer.headers.get('location') };
  }

  window.publish = async (url, codec, kilobits = 1000, headers = {}) => {
    const canvas = document.createElement('canvas');
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    document.body.append(canvas);
    const context = canvas.getContext('2d');
    setInterval(() => drawClock(context), 15);
    const connection = (window.connection = new RTCPeerConnection());
    const [picture] = canvas.captureStream(30).getTracks();
    const video = connection.addTransceiver(picture, {
      direction: 'sendonly',
      sendEncodings: [{ maxBitrate: kilobits * 1000 }],
    });
    const all = RTCRtpSender.getCapabilities('video').codecs;
    const wanted = all.filter((each) => each.mimeType.toLowerCase() === `video/${codec}`);
    const repair = all.filter((each) => each.mimeType === 'video/rtx');
    video.setCodecPreferences([...wanted, ...repair]);
    const sound = new AudioContext();
    const hum = sound.createOscillator(), outlet = sound.createMediaStreamDestination();
    hum.connect(outlet);
    hum.start();
    const audio = connection.addTransceiver(outlet.stream.getTracks()[0], {
      direction: 'sendonly',
    });
    for (const each of [video, audio]) negotiateCaptureTime(each);
    return exchange(connection, url, headers);
  };

  window.frames_ = [];
  window.play = async (url) => {
    const screen = document.createElement('video');
    Object.assign(screen, { muted: true, autoplay: true, playsInline: true });
    document.body.append(screen);
    const canvas = document.createElement('canvas');
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const connection = (window.connection = new RTCPeerConnection());
    const stream = new MediaStream();
    connection.ontrack = (event) => {
      stream.addTrack(event.track);
      screen.srcObject = stream;
    };
    for (const kind of ['video', 'audio']) {
      negotiateCaptureTime(connection.addTransceiver(kind, { direction: 'recvonly' }));
    }
    const shown = (now, frame) => {
      window.frames_.push({
        clock: readClock(context, screen),
        shownMs: unixMs(frame.expectedDisplayTime),
        rtp: frame.rtpTimestamp ?? null,
        captureMs: frame.captureTime === undefined ? null : unixMs(frame.captureTime),
      });
      screen.requestVideoFrameCallback(shown);
    };
    screen.requestVideoFrameCallback(shown);
    return exchange(connection, url, {}, askForRoundTrip);
  };

  window.inbound = async () => {
    const found = {};
    for (const each of (await window.connection.getStats()).values()) {
      if (each.type === 'inbound-rtp' && each.kind === 'video') Object.assign(found, each);
    }
    return found;
  };
})();
