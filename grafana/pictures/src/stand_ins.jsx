// Panels whose components Grafana does not export: own drawings from the same options and data.
import {
  colorManipulator,
  formattedValueToString,
  getFieldDisplayName,
  getValueFormat,
} from '@grafana/data';
import { VizLegend } from '@grafana/ui';
import { Message, reduced } from './panels.jsx';
import { from, to } from './parameters.js';

const AXIS_HEIGHT = 40;
const NAME_WIDTH = 190;

/** An arc with the value, and the band of the thresholds around it. */
export function Gauge(props) {
  const { panel, theme, width, height } = props;
  const [value] = reduced(props);
  const { noValue, thresholds } = panel.fieldConfig.defaults;
  if (!value || Number.isNaN(value.display.numeric)) {
    return <Message text={value?.display.text || noValue || 'No data'} theme={theme} />;
  }
  const min = value.field.min ?? 0;
  const max = value.field.max ?? 100;
  const share = (number) => Math.min(1, Math.max(0, (number - min) / (max - min)));
  const radius = Math.min(width / 2, height / 1.5) * 0.9;
  const center = [width / 2, height * 0.62];
  const arc = (start, end, r, stroke, strokeWidth) => {
    const angle = (x) => Math.PI * (1.15 - 1.3 * x);
    const point = (x) => [center[0] + r * Math.cos(angle(x)), center[1] - r * Math.sin(angle(x))];
    const large = angle(start) - angle(end) > Math.PI ? 1 : 0;
    const d = `M${point(start)}A${r} ${r} 0 ${large} 1 ${point(end)}`;
    return <path key={`${start} ${r} ${stroke}`} {...{ d, stroke, strokeWidth }} fill="none" />;
  };
  const text = formattedValueToString(value.display);
  const steps = thresholds.steps.map((step, index, all) => {
    const end = all[index + 1] ? share(all[index + 1].value) : 1;
    const color = theme.visualization.getColorByName(step.color);
    return arc(share(step.value ?? min), end, radius * 0.97, color, radius * 0.06);
  });
  return (
    <svg width={width} height={height}>
      {arc(0, 1, radius * 0.78, theme.colors.background.secondary, radius * 0.26)}
      {arc(0, share(value.display.numeric), radius * 0.78, value.display.color, radius * 0.26)}
      {steps}
      <text
        x={center[0]}
        y={center[1]}
        textAnchor="middle"
        fontSize={Math.min(radius * 0.36, (1.7 * radius) / Math.max(4, text.length))}
        fill={value.display.color}
      >
        {text}
      </text>
    </svg>
  );
}

/** Joins equal neighbours of one series. */
function spans(frame) {
  const [times, values] = frame.fields.map((field) => field.values);
  const joined = [];
  values.forEach((value, index) => {
    const last = joined.at(-1);
    if (last && last.value === value) {
      last.end = times[index];
    } else {
      if (last) {
        last.end = times[index];
      }
      joined.push({ value, start: times[index], end: times[index] });
    }
  });
  return joined.filter((span) => span.value != null);
}

/** One row of boxes for each series. */
export function States({ panel, frames, theme, width, height }) {
  const { noValue, custom } = panel.fieldConfig.defaults;
  const { perPage, rowHeight, legend } = panel.options;
  if (!frames.length) {
    return <Message text={noValue ?? 'No data'} theme={theme} />;
  }
  const shown = frames.slice(0, perPage ?? 20);
  const tall = (height - 50) / shown.length;
  const plot = width - NAME_WIDTH;
  const left = (time) => ((time / 1000 - from) / (to - from)) * plot;
  const seen = new Map();
  const box = (span, field) => {
    const display = field.display(span.value);
    const text = formattedValueToString(display);
    seen.set(text, display.color);
    const style = {
      position: 'absolute',
      left: left(span.start),
      width: Math.max(1, left(span.end) - left(span.start)),
      top: (tall * (1 - rowHeight)) / 2,
      height: tall * rowHeight,
      background: colorManipulator.alpha(display.color, custom.fillOpacity / 100),
      color: theme.colors.getContrastText(display.color),
      font: `12px/${tall * rowHeight}px Inter`,
      overflow: 'hidden',
      whiteSpace: 'nowrap',
    };
    return <div key={span.start} style={style}>{tall > 14 && text}</div>;
  };
  const name = { width: NAME_WIDTH, paddingRight: 8, textAlign: 'right', overflow: 'hidden' };
  const rows = shown.map((frame, index) => (
    <div key={index} style={{ display: 'flex', font: `12px/${tall}px Inter`, height: tall }}>
      <div style={{ ...name, whiteSpace: 'nowrap' }}>
        {getFieldDisplayName(frame.fields[1], frame, frames)}
      </div>
      <div style={{ position: 'relative', width: plot, overflow: 'hidden' }}>
        {spans(frame).map((span) => box(span, frame.fields[1]))}
      </div>
    </div>
  ));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => (
    <span key={share}>
      {new Date((from + share * (to - from)) * 1000).toISOString().slice(11, 16)}
    </span>
  ));
  const axis = { marginLeft: NAME_WIDTH, display: 'flex', justifyContent: 'space-between' };
  const items = [...seen].map(([label, color]) => ({ label, color, yAxis: 1 }));
  return (
    <div>
      {rows}
      <div style={{ ...axis, fontSize: 12 }}>{ticks}</div>
      {legend.showLegend && <VizLegend placement="bottom" displayMode="list" items={items} />}
    </div>
  );
}

/** Cells of a histogram's buckets, which Prometheus counts from the bottom up. */
export function Heatmap({ panel, frames, theme, width, height }) {
  const bound = (frame) => Number(frame.fields[1].labels.le.replace('+Inf', 'Infinity'));
  const buckets = [...frames].sort((a, b) => bound(a) - bound(b));
  if (!buckets.length) {
    return <Message text={panel.fieldConfig.defaults.noValue ?? 'No data'} theme={theme} />;
  }
  const axis = 64;
  const tall = (height - AXIS_HEIGHT) / buckets.length;
  const wide = (width - axis) / buckets[0].length;
  const lowest = panel.options.filterValues?.le ?? 0;
  let most = 0;
  const counts = buckets.map((frame, bucket) => {
    return frame.fields[1].values.map((value, index) => {
      const below = bucket ? (buckets[bucket - 1].fields[1].values[index] ?? 0) : 0;
      most = Math.max(most, (value ?? 0) - below);
      return (value ?? 0) - below;
    });
  });
  const format = getValueFormat(panel.options.yAxis.unit);
  const labelled = Math.ceil(buckets.length / 10);
  const label = (frame, bucket) => (
    <text key={bucket} x={axis - 6} y={height - AXIS_HEIGHT - bucket * tall} textAnchor="end">
      {Number.isFinite(bound(frame)) ? formattedValueToString(format(bound(frame))) : '+Inf'}
    </text>
  );
  const color = (share) => `hsl(${30 - 15 * share}, 90%, ${80 - 55 * share}%)`;
  const cell = (count, bucket, index) => (
    <rect
      key={index}
      x={axis + index * wide}
      y={height - AXIS_HEIGHT - (bucket + 1) * tall}
      width={Math.max(1, wide - 1)}
      height={Math.max(1, tall - 1)}
      fill={color(Math.sqrt(count / most))}
    />
  );
  return (
    <svg width={width} height={height} fontSize={11} fill={theme.colors.text.primary}>
      {counts.map((row, bucket) => (
        <g key={bucket}>
          {bucket % labelled === 0 && label(buckets[bucket], bucket)}
          {row.map((count, index) => count > lowest && cell(count, bucket, index))}
        </g>
      ))}
      <text x={axis} y={height - 8}>{`0 to ${most.toPrecision(3)}`}</text>
    </svg>
  );
}
