// Draws one row of the dashboard. `window.pending` is the number of panels without data, and
// `window.failures` lists what went wrong.
import { EventBusSrv, ThemeContext, createTheme } from '@grafana/data';
import { GlobalStyles, PanelChrome, PanelContextProvider } from '@grafana/ui';
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { withFieldOptions } from './field_options.js';
import { Bars, Lines, Message, Stat } from './panels.jsx';
import * as parameters from './parameters.js';
import { interpolate, readFrames, readVariables } from './prometheus.js';
import { Gauge, Heatmap, States } from './stand_ins.jsx';

const KINDS = {
  timeseries: Lines,
  stat: Stat,
  bargauge: Bars,
  gauge: Gauge,
  'state-timeline': States,
  heatmap: Heatmap,
};

// Grafana's grid.
const ROW_HEIGHT = 30;
const GAP = 8;
const cell = (parameters.width - GAP) / 24;

const theme = createTheme({ colors: { mode: parameters.theme } });
const context = { eventBus: new EventBusSrv(), eventsScope: 'panel', sync: () => 0 };

window.pending = Infinity;
window.failures = [];

function fail(where, error) {
  window.failures.push(`${where}: ${error?.message ?? error}`);
}

/** The panels of a row: inside it if it is collapsed, else up to the next row. */
function panelsOf(dashboard, title) {
  const at = dashboard.panels.findIndex(({ type, title: t }) => type === 'row' && t === title);
  const row = dashboard.panels[at];
  if (row.panels.length) {
    return row.panels;
  }
  const after = dashboard.panels.slice(at + 1);
  const next = after.findIndex((panel) => panel.type === 'row');
  return next < 0 ? after : after.slice(0, next);
}

function Panel({ panel, top, variables }) {
  const [frames, setFrames] = useState(null);
  const { x, y, w, h } = panel.gridPos;
  const width = w * cell - GAP;
  const height = h * (ROW_HEIGHT + GAP) - GAP;
  const title = interpolate(panel.title, variables);
  const replaceVariables = (text) => interpolate(text, variables);
  useEffect(() => {
    readFrames(panel, width, variables)
      .then((found) => setFrames(withFieldOptions(found, panel, theme, replaceVariables)))
      .catch((error) => fail(title, error))
      .finally(() => (window.pending -= 1));
  }, []);
  const Kind = KINDS[panel.type];
  const content = (inner, tall) =>
    Kind ? (
      <Kind {...{ panel, frames, theme, replaceVariables }} width={inner} height={tall} />
    ) : (
      <Message text={`${panel.type} is not drawn`} theme={theme} />
    );
  const place = {
    position: 'absolute',
    left: GAP + x * cell,
    top: GAP + (y - top) * (ROW_HEIGHT + GAP),
    width,
    height,
  };
  return (
    <div style={place}>
      <PanelChrome {...{ title, width, height }}>
        {(inner, tall) => frames && content(inner, tall)}
      </PanelChrome>
    </div>
  );
}

async function draw() {
  const root = createRoot(document.getElementById('root'));
  const dashboard = await (await fetch('/dashboard.json')).json();
  const variables = await readVariables(dashboard);
  const panels = panelsOf(dashboard, parameters.row);
  const top = Math.min(...panels.map(({ gridPos }) => gridPos.y));
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const style = {
    position: 'relative',
    width: parameters.width,
    height: GAP + (bottom - top) * (ROW_HEIGHT + GAP),
    background: theme.colors.background.canvas,
    color: theme.colors.text.primary,
  };
  // The styles declare the fonts, and the width of a label is measured when it is drawn.
  root.render(<ThemeContext.Provider value={theme}><GlobalStyles /></ThemeContext.Provider>);
  while (!document.fonts.size) {
    await new Promise(requestAnimationFrame);
  }
  await Promise.all(['400 12px Inter', '500 14px Inter'].map((font) => document.fonts.load(font)));
  window.pending = panels.length;
  root.render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={context}>
        <div id="picture" style={style}>
          {panels.map((panel) => (
            <Panel key={panel.id} {...{ panel, top, variables }} />
          ))}
        </div>
      </PanelContextProvider>
    </ThemeContext.Provider>,
  );
}

draw().catch((error) => {
  fail('the page', error);
  window.pending = 0;
});
