// The panels whose components Grafana exports.
import {
  VizOrientation,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { timeRange } from './parameters.js';

export function reduced({ panel, frames, theme, replaceVariables }) {
  return getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables,
    theme,
    data: frames,
    timeZone: 'utc',
  });
}

export function Message({ text, theme }) {
  const style = {
    height: '100%',
    display: 'flex',
    alignItems: 'center',
    justifyContent: 'center',
    color: theme.colors.text.secondary,
  };
  return <div style={style}>{text}</div>;
}

export function Stat(props) {
  const { panel, frames, theme, width, height } = props;
  const { colorMode, graphMode, justifyMode, textMode, wideLayout, text } = panel.options;
  const look = { colorMode, graphMode, justifyMode, textMode, wideLayout, text, theme };
  return (
    <VizRepeater
      getValues={() => reduced(props)}
      source={frames}
      renderCounter={0}
      width={width}
      height={height}
      orientation={VizOrientation.Auto}
      renderValue={({ value, ...size }) => <BigValue value={value.display} {...size} {...look} />}
    />
  );
}

export function Bars(props) {
  const { panel, frames, theme, width, height } = props;
  const { displayMode, showUnfilled, valueMode, namePlacement, text } = panel.options;
  const look = { displayMode, showUnfilled, namePlacement, text, theme };
  const values = reduced(props);
  const alignmentFactors = getDisplayValueAlignmentFactors(values);
  return (
    <VizRepeater
      getValues={() => values}
      source={frames}
      renderCounter={0}
      width={width}
      height={height}
      orientation={panel.options.orientation}
      minVizWidth={panel.options.minVizWidth}
      minVizHeight={panel.options.minVizHeight}
      itemSpacing={10}
      renderValue={({ value, ...size }) => (
        <BarGauge
          width={size.width}
          height={size.height}
          orientation={size.orientation}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          value={value.display}
          alignmentFactors={alignmentFactors}
          itemSpacing={10}
          lcdCellWidth={12}
          valueDisplayMode={valueMode}
          {...look}
        />
      )}
    />
  );
}

/** Grafana's panel makes null of everything that is not finite. One NaN would empty the chart. */
function finite(field) {
  if (field.type !== 'number') {
    return field;
  }
  const values = field.values.map((value) => (Number.isFinite(value) ? value : null));
  return { ...field, values };
}

export function Lines({ panel, frames, theme, width, height }) {
  if (!frames.length) {
    return <Message text={panel.fieldConfig.defaults.noValue ?? 'No data'} theme={theme} />;
  }
  return (
    <TimeSeries
      frames={frames.map((frame) => ({ ...frame, fields: frame.fields.map(finite) }))}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
      structureRev={1}
    />
  );
}
