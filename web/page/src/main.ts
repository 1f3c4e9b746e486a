/** Which page this address is. */

const app = document.getElementById("app") as HTMLElement;
const [first, room, view] = location.pathname.split("/").slice(1);

async function show(): Promise<void> {
  const name = first === "rooms" && room ? decodeURIComponent(room) : "demo";
  if (view === "replay") (await import("./replay.js")).showReplay(app, name);
  else if (view === "host") (await import("./host.js")).showHost(app, name);
  else (await import("./viewer.js")).showViewer(app, name);
}

void show();
