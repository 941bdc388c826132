const WIDTH = 240;
const HEIGHT = 80;
/** Points across: two minutes, one a second. */
const POINTS = 120;

/** A plot whose right end is now. Its axes are text beside it, which does not stretch with the lines. */
export function Plot(props: {
  title: string;
  now: string;
  values: readonly number[];
  top: number;
  /** How a value is written at the axis. */
  unit: (value: number) => string;
}) {
  const { values, top, unit } = props;
  const x = (index: number) => WIDTH - (values.length - 1 - index) * (WIDTH / (POINTS - 1));
  const y = (value: number) => HEIGHT - 1 - Math.min(1, value / (top || 1)) * (HEIGHT - 2);
  const line = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  const area = line.length > 0 ? `${x(0).toFixed(1)},${HEIGHT} ${line.join(' ')} ${WIDTH},${HEIGHT}` : '';
  return (
    <figure class="plot">
      <figcaption>
        <span>{props.title}</span> <strong>{props.now}</strong>
      </figcaption>
      <div class="axes">
        <div class="y-axis" aria-hidden="true">
          <span>{unit(top)}</span>
          <span>{unit(top / 2)}</span>
          <span>{unit(0)}</span>
        </div>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`${props.title}: ${props.now}`}
        >
          <path class="grid" d={`M0 0.5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`} />
          <polygon points={area} />
          <polyline points={line.join(' ')} />
        </svg>
        <div class="x-axis" aria-hidden="true">
          <span>2 min ago</span>
          <span>1 min</span>
          <span>now</span>
        </div>
      </div>
    </figure>
  );
}
