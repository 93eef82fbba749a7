import { render } from "preact";
import { App } from "./App";
import { watchAgreement } from "./segment/agreement";
import { fetchGallery } from "./segment/api";
import { startRunner } from "./segment/runner";
import { watchModels } from "./segment/watch";
import { followLink, openLinked, readLink } from "./share/link";
import { gallery } from "./state";
import "./style/base.css";
import "./style/controls.css";
import "./style/layout.css";
import "./style/pictures.css";
import "./style/viewer.css";
import "./style/progress.css";
import "./style/labels.css";
import "./style/legend.css";
import "./style/panel.css";

const linked = readLink(location.hash);
render(<App />, document.getElementById("page")!);
watchModels();
startRunner();
watchAgreement();
fetchGallery()
  .then(async (found) => {
    gallery.value = found;
    await openLinked(linked);
  })
  .catch(() => undefined) // there is a page without a gallery
  .finally(followLink);
