/* Unpacks what the page holds in compressed form: text in script elements, as base64. */
window.ppoptPage = (function () {
  "use strict";

  const canUnpack = "DecompressionStream" in window;

  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  }

  async function run(id) {
    const script = document.createElement("script");
    script.textContent = await unpacked(id);
    document.head.appendChild(script).remove();
  }

  if (!canUnpack) {
    const notice = document.createElement("p");
    notice.className = "noscript";
    notice.setAttribute("role", "alert");
    notice.textContent = "This browser is too old for the charts: it cannot decompress data (DecompressionStream), as Chrome, Edge, Firefox and Safari can since 2023. All numbers are in the tables.";
    document.querySelector("main").prepend(notice);
    document.documentElement.dataset.complete = "0";
  }

  return { canUnpack, unpacked, run };
}());
