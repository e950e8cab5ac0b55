// The live parts: the pipeline view's events, views that look again by themselves, and a question before much is put back.
"use strict";

/** Replace the parts of `root` that have an id and differ in `fresh`; the others keep focus, scroll and open details. */
function takeOver(root, fresh) {
  for (const part of fresh.querySelectorAll("[id]")) {
    const old = root.querySelector(`#${CSS.escape(part.id)}`);
    if (old && old.outerHTML !== part.outerHTML) old.replaceWith(part.cloneNode(true));
  }
}

function offline(is) {
  const shown = document.getElementById("offline");
  if (is && !shown) {
    const note = document.createElement("div");
    note.id = "offline";
    note.className = "problem";
    note.setAttribute("role", "alert");
    note.textContent = "This page’s own server does not answer. It is asked again; what is shown may be old.";
    document.getElementById("main").prepend(note);
  } else if (!is && shown) {
    shown.remove();
  }
}

function followEvents(root) {
  let source = null;
  const open = () => {
    source = new EventSource(root.dataset.events);
    source.onopen = () => offline(false);
    source.onmessage = (event) => {
      const fresh = document.createElement("template");
      fresh.innerHTML = JSON.parse(event.data);
      takeOver(root, fresh.content);
    };
    source.onerror = () => {
      offline(true);
      if (source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(() => { if (!source && !document.hidden) open(); }, 2000);
      }
    };
  };
  // A browser allows few connections to one server: a tab that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) { source.close(); source = null; } else if (!document.hidden && !source) open();
  });
  open();
}

/** Fetch this view again every few seconds, and take over what differs. */
function lookAgain(seconds) {
  setTimeout(async () => {
    let next = seconds;
    if (!document.hidden) {
      try {
        const response = await fetch(location.href, { headers: { accept: "text/html" } });
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        offline(false);
        const wanted = fresh.getElementById("main").dataset.refreshSeconds;
        // What was away is back: the view as a whole, with its charts and forms.
        if (!wanted) { location.reload(); return; }
        next = Number(wanted);
        const old = document.getElementById("main");
        if (old.querySelectorAll("[id]").length !== fresh.getElementById("main").querySelectorAll("[id]").length) {
          old.innerHTML = fresh.getElementById("main").innerHTML;
        } else {
          takeOver(old, fresh.getElementById("main"));
        }
      } catch (error) {
        offline(true);
      }
    }
    lookAgain(next);
  }, seconds * 1000);
}

document.addEventListener("DOMContentLoaded", () => {
  // On a phone the views' names are wider than the screen.
  document.querySelector(".top [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  const live = document.getElementById("live");
  if (live) followEvents(live);
  const seconds = Number(document.getElementById("main").dataset.refreshSeconds || 0);
  if (seconds) lookAgain(seconds);
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });
  const openTarget = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView({ block: "start" }); }
  };
  window.addEventListener("hashchange", openTarget);
  openTarget();
});
