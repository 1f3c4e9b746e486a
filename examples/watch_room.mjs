// Watch a room in Node. Run: node examples/watch_room.mjs (Node 22; Node 20: --experimental-websocket)
// In a browser, or for events released at your playhead, take the client library: web/client.

const url = (process.env.ENGAGEMENT_URL ?? "http://127.0.0.1:8080").replace("http", "ws");
const room = process.env.ROOM ?? "demo";
let left = Number(process.env.EVENTS ?? 0) || Infinity; // stop after so many
let cursor = "";

function watch() {
  const query = cursor ? `?cursor=${cursor}` : "";
  const socket = new WebSocket(`${url}/v1/rooms/${room}/live${query}`, "engagement.v1");
  socket.onopen = () => socket.send(JSON.stringify({ t: "auth", token: "dev:watcher" }));
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    cursor = frame.cursor ?? cursor;
    if (frame.t === "hello" && !frame.recovered) console.log("in", frame.room);
    for (const event of frame.events ?? []) {
      console.log(`${event.mediapts} ms`, event.type, event.actorid ?? "", event.data);
      if (--left === 0) process.exit(0);
    }
  };
  socket.onclose = ({ code }) => {
    if (code >= 3500 && code < 4000) process.exit(1); // told not to come back
    setTimeout(watch, 1000);
  };
}

watch();
