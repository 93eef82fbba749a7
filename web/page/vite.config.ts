import { defineConfig } from "vite";

// `npm run dev` passes the app's routes on to a running `lseg web`.
const app = "http://127.0.0.1:8000";

export default defineConfig({
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // the first with light-dark()
    assetsInlineLimit: 0, // the app's content security policy knows no inline scripts or styles
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
  server: { fs: { allow: ["../.."] }, proxy: { "/api": app, "/gallery": app, "/healthz": app } },
});
