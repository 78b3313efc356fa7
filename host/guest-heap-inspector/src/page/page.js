// Refreshes the numbers of the page every two seconds while its switch is on.

const INTERVAL = 2000;
const follow = document.querySelector("#follow");

/** Replaces the parts of the page that have numbers. Open call stacks stay open. */
async function refresh() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  const open = [...document.querySelectorAll("details[open]")].map((part) => part.dataset.key);
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = next.querySelector(`[data-live="${part.dataset.live}"]`);
    if (fresh) part.replaceChildren(...fresh.childNodes);
  }
  for (const key of open) {
    document.querySelector(`details[data-key="${key}"]`)?.setAttribute("open", "");
  }
}

async function run() {
  if (follow.checked && !document.hidden) {
    try {
      await refresh();
    } catch {
      // The host is not there now. The next turn tries again.
    }
  }
  setTimeout(run, INTERVAL);
}

document.querySelector("#follow-label").hidden = false;
follow.checked = sessionStorage.getItem("follow") !== "off";
follow.addEventListener("change", () => sessionStorage.setItem("follow", follow.checked ? "on" : "off"));
run();
