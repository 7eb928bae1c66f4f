// Follows what is in flight. Without it the page is whole, and loads itself anew now and then.
"use strict";
const list = document.querySelector("#in-flight");
if (list && window.EventSource) {
  const source = new EventSource("/events");
  source.addEventListener("receiving", (event) => {
    const news = JSON.parse(event.data);
    const line = list.querySelector(`[data-job="${Number(news.job)}"]`);
    if (!line) return;
    line.querySelector(".news").textContent = `${(news.bytes / 1e6).toFixed(1)} MB received`;
    const bar = line.querySelector("progress");
    if (news.length) {
      bar.classList.remove("hidden");
      bar.max = news.length;
      bar.value = news.bytes;
    }
  });
  let reload = 0;
  source.addEventListener("moved", () => {
    clearTimeout(reload);
    reload = setTimeout(() => location.reload(), 1000);
  });
}
