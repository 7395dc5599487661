(() => {
  // The time until the PIN may be tried again runs down.
  for (const span of document.querySelectorAll("[data-wait]")) {
    const end = Date.now() + span.dataset.wait * 1000, button = document.querySelector("button.main");
    const tick = () => {
      const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      button.disabled = left > 0;
      span.textContent = left + "\u202fs";
      if (left) setTimeout(tick, 250); else span.closest("p").remove();
    };
    tick();
  }
  // The words in the block, as they will stand there, while they are written.
  for (const tag of document.querySelectorAll("input[type=text][name=tag]")) {
    const said = document.createElement("small");
    tag.after(said);
    const show = () => {
      const words = "/" + tag.value.trim() + "/", bytes = new TextEncoder().encode(words).length;
      said.textContent = words + " takes " + bytes + " bytes of the block";
    };
    tag.addEventListener("input", show);
    show();
  }
  // What a slip must not do is held for three seconds, by finger or key.
  for (const button of document.querySelectorAll("[data-hold]")) {
    const tickbox = button.form.elements.sure, words = button.textContent;
    let timer, done = false;
    tickbox.closest("p").hidden = true;
    const start = (event) => {
      if (event.type === "keydown" && (event.repeat || event.key !== " " && event.key !== "Enter")) return;
      clearTimeout(timer);
      button.textContent = "Keep holding…";
      timer = setTimeout(() => { done = tickbox.checked = true; button.click(); }, 3000);
    };
    const stop = () => { clearTimeout(timer); button.textContent = words; };
    for (const name of ["pointerdown", "keydown"]) button.addEventListener(name, start);
    for (const name of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) button.addEventListener(name, stop);
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("click", (event) => { if (!done) event.preventDefault(); });
  }
})();
