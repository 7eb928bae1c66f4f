// Updates the jobs in flight. Without it the page is complete, and reloads itself now and then.
"use strict";
const list = document.querySelector("#in-flight");
if (list && window.EventSource) {
  const source = new EventSource("/events");
  source.addEventListener("receiving", (event) => {
    const update = JSON.parse(event.data);
    const line = list.querySelector(`[data-job="${Number(update.job)}"]`);
    if (!line) return;
    line.querySelector(".progress").textContent = `${(update.bytes / 1e6).toFixed(1)} MB received`;
    const bar = line.querySelector("progress");
    if (update.length) {
      bar.classList.remove("hidden");
      bar.max = update.length;
      bar.value = update.bytes;
    }
  });
  let reload = 0;
  source.addEventListener("moved", () => {
    clearTimeout(reload);
    reload = setTimeout(() => location.reload(), 1000);
  });
}
