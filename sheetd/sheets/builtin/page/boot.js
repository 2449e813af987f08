// @ts-check
/**
 * Loads the page's modules, and once more when one of them could not be fetched: a browser drops requests when a VPN
 * or a container changes the network, and a page that stays at "connecting" for ever tells nobody why.
 */

const RETRY_MS = 1000;
const MOST_RETRIES = 5;

const tries = Number(sessionStorage.getItem("tries") ?? 0);
import("./main.js").then(
  () => sessionStorage.removeItem("tries"),
  (error) => {
    sessionStorage.setItem("tries", String(tries + 1));
    if (tries < MOST_RETRIES) setTimeout(() => location.reload(), RETRY_MS);
    const banner = document.getElementById("banner");
    if (banner) {
      banner.textContent = "A part of this page could not be loaded. Is sheetd still running? Reload the page to try again.";
      banner.hidden = tries < MOST_RETRIES;
    }
    throw error;
  },
);
