import { defineConfig } from "vitest/config";

const src = new URL("./src/", import.meta.url).pathname;

export default defineConfig({
  resolve: {
    alias: [
      { find: /^zod$/, replacement: `${src}index.ts` },
      { find: /^zod\/(v3|v4|mini|v4-mini|locales)$/, replacement: `${src}$1/index.ts` },
      { find: /^zod\/v4\/(core|mini|locales)$/, replacement: `${src}v4/$1/index.ts` },
    ],
  },
  test: { include: ["src/v4/**/*.test.ts"], watch: false, testTimeout: 60_000 },
});
