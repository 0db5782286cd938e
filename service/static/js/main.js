/** Starts the page: language, theme, tabs, the key dialog, and the two tabs with what both offer to take away. */

import { call, isKey, onKeyWanted } from "./api.js";
import { byId, debounced, show } from "./dom.js";
import { retellFailures } from "./failures.js";
import { kept, language, setLanguage, t, translatePage } from "./i18n.js";
import { inLanguage } from "./losswords.js";
import { onChange, readLink, set, state } from "./state.js";
import { Take } from "./take.js";
import { TensorTab } from "./tensors/view.js";
import { TextTab } from "./text/view.js";

const THEME = "attnloss-theme";
const TABS = ["text", "tensors"];

/** @param {string | null} chosen light, dark, or null for what the system prefers */
function theme(chosen) {
  const shade = chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.shade = shade;
  byId("theme").setAttribute("aria-pressed", String(shade === "dark"));
}

/** What scripts draw takes its colours from the theme when it is drawn. */
function repaint() {
  for (const map of [text.map.map, ...text.compare.maps, tensors.results.map]) if (map.shown) map.draw();
  if (text.map.source) text.map.drawHeadView();
}

function showTab() {
  for (const name of TABS) {
    const chosen = state.tab === name;
    byId(`tab-${name}`).setAttribute("aria-selected", String(chosen));
    byId(`tab-${name}`).tabIndex = chosen ? 0 : -1;
    show(byId(`panel-${name}`), chosen);
  }
}

/** @param {boolean} wrong whether the one that was given did not fit */
function askForKey(wrong) {
  const dialog = byId("key-dialog");
  const says = (word) => ((byId("key-says").dataset.i18n = word), (byId("key-says").textContent = t(word)));
  says(wrong ? "key.wrong" : "key.says");
  byId("key-input").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  const check = (event) => {
    if (isKey(byId("key-input").value.trim())) return;
    event.preventDefault();
    says("key.characters");
  };
  dialog.addEventListener("submit", check);
  return new Promise((resolve) => {
    const closed = () => {
      dialog.removeEventListener("submit", check);
      resolve(dialog.returnValue === "ok" ? byId("key-input").value.trim() : null);
    };
    dialog.addEventListener("close", closed, { once: true });
  });
}

theme(kept(THEME));
translatePage();
readLink();
showTab();
onKeyWanted(askForKey);

const text = new TextTab();
const tensors = new TensorTab();
const take = new Take(text, tensors);

const retell = () => {
  retellFailures();
  text.measure.controls();
  text.score();
  tensors.retell();
  take.hush();
  take.draw();
};

byId("key-cancel").addEventListener("click", () => byId("key-dialog").close(""));
byId("language").value = language;
byId("language").addEventListener("change", (event) => (setLanguage(event.target.value), retell()));
byId("theme").addEventListener("click", () => {
  const shade = document.documentElement.dataset.shade === "dark" ? "light" : "dark";
  kept(THEME, shade);
  theme(shade);
  repaint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (theme(kept(THEME)), repaint()));

for (const name of TABS) byId(`tab-${name}`).addEventListener("click", () => set({ tab: name }));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part of the address behind # is what is on screen
  byId("main").focus();
});
byId("tab-text").parentElement.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
  set({ tab: TABS[(TABS.indexOf(state.tab) + 1) % TABS.length] });
  byId(`tab-${state.tab}`).focus();
});

onChange((changed) => changed.has("tab") && (showTab(), text.map.map.shown && state.tab === "text" && text.map.colour({ keep: true })));
window.addEventListener("hashchange", () => {
  const changed = readLink();
  showTab();
  if (changed.has("tensors")) tensors.forget();
  tensors.follow(changed);
  text.follow(changed);
});

const takeSoon = debounced(() => take.draw(), 100);
const watched = { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-busy", "aria-pressed", "hidden"] };
for (const name of TABS) new MutationObserver(takeSoon).observe(byId(`panel-${name}`), watched);
for (const moved of ["pointerup", "keyup", "wheel"]) byId("main").addEventListener(moved, takeSoon, { passive: true });

text.controls();
tensors.controls();
const losses = async () => {
  try {
    const { losses: specs } = await call("losses", null, { waiting: text.waiting });
    const told = specs.map(inLanguage);
    text.measure.setSpecs(told);
    tensors.setSpecs(told);
    if (text.result) text.measure.load();
    if (state.tab === "tensors") tensors.compute();
  } catch (error) {
    text.fail("text", error, losses);
  }
};
losses();
text.score();
