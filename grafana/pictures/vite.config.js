import { readFileSync } from 'node:fs';
import react from '@vitejs/plugin-react';

const MODULES = new URL('./node_modules/', import.meta.url);
const INTER = '@fontsource-variable/inter/files/inter-latin-wght-';
const MONO = '@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2';

/** The fonts where Grafana's styles look for them. Without Inter, axis labels are cut off. */
const FONTS = {
  'inter/Inter-Regular.woff2': `${INTER}normal.woff2`,
  'inter/Inter-Medium.woff2': `${INTER}normal.woff2`,
  'inter/Inter-Italic.woff2': `${INTER}italic.woff2`,
  'inter/Inter-MediumItalic.woff2': `${INTER}italic.woff2`,
  'roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2': MONO,
};

const fonts = {
  name: 'fonts-of-grafana',
  generateBundle() {
    for (const [place, file] of Object.entries(FONTS)) {
      const source = readFileSync(new URL(file, MODULES));
      this.emitFile({ type: 'asset', fileName: `public/fonts/${place}`, source });
    }
  },
};

export default {
  plugins: [react(), fonts],
  define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
  build: { minify: false, chunkSizeWarningLimit: 1e6, reportCompressedSize: false },
};
