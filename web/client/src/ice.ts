/** Gathering candidates before an offer or answer is sent, as WHIP and WHEP do without trickling. */

const GATHER_MS_MAX = 1_000;

/** All candidates, or those that there are after a moment: on a host without STUN that is at once. */
export async function gathered(connection: RTCPeerConnection): Promise<void> {
  if (connection.iceGatheringState === "complete") return;
  await new Promise<void>((resolve) => {
    setTimeout(resolve, GATHER_MS_MAX);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState === "complete") resolve();
    });
  });
}
