// The options of a field. Grafana's core registers them, and its core is not on npm. An option that
// is not registered is ignored in overrides.
import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  identityOverrideProcessor,
} from '@grafana/data';

const STANDARD = [
  'unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings',
  'links', 'fieldMinMax',
];

const CUSTOM = [
  'drawStyle', 'lineWidth', 'fillOpacity', 'showPoints', 'spanNulls', 'axisPlacement', 'lineStyle',
  'stacking', 'axisLabel', 'axisSoftMin', 'axisSoftMax', 'lineInterpolation', 'gradientMode',
  'pointSize', 'hideFrom', 'scaleDistribution', 'axisCenteredZero', 'axisColorMode',
  'axisGridShow', 'axisBorderShow', 'axisWidth', 'thresholdsStyle', 'transform', 'insertNulls',
];

/** The defaults of Grafana's time series panel. */
const TIME_SERIES = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  pointSize: 5,
  showPoints: 'auto',
  spanNulls: false,
  axisPlacement: 'auto',
  axisLabel: '',
  scaleDistribution: { type: 'linear' },
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
  hideFrom: { tooltip: false, viz: false, legend: false },
  axisCenteredZero: false,
  axisColorMode: 'text',
  axisBorderShow: false,
};

function item(id, isCustom) {
  const name = (isCustom ? 'custom.' : '') + id;
  const process = identityOverrideProcessor;
  return { id: name, path: id, name: id, isCustom, settings: {}, process, shouldApply: () => true };
}

const registry = new FieldConfigOptionsRegistry(() => [
  ...STANDARD.map((id) => item(id, false)),
  ...CUSTOM.map((id) => item(id, true)),
]);

/** Applies the options of the panel to its data. */
export function withFieldOptions(frames, panel, theme, replaceVariables) {
  const config = structuredClone(panel.fieldConfig ?? { defaults: {}, overrides: [] });
  if (panel.type === 'timeseries') {
    config.defaults.custom = { ...TIME_SERIES, ...config.defaults.custom };
  }
  // Grafana's server makes this of the `null` in the JSON.
  const base = config.defaults.thresholds?.steps?.[0];
  if (base && base.value == null) {
    base.value = -Infinity;
  }
  return applyFieldOverrides({
    data: frames,
    fieldConfig: config,
    replaceVariables,
    theme,
    timeZone: 'utc',
    fieldConfigRegistry: registry,
  });
}
