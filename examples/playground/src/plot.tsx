const WIDTH = 240;
const HEIGHT = 56;
/** Points across. */
const POINTS = 120;

/** A small plot that ends at the right with now. */
export function Plot(props: { title: string; now: string; values: readonly number[]; top: number }) {
  const { values } = props;
  const x = (index: number) => WIDTH - (values.length - 1 - index) * (WIDTH / (POINTS - 1));
  const y = (value: number) => HEIGHT - 1 - Math.min(1, value / (props.top || 1)) * (HEIGHT - 2);
  const line = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  const area = line.length > 0 ? `${x(0).toFixed(1)},${HEIGHT} ${line.join(' ')} ${WIDTH},${HEIGHT}` : '';
  return (
    <figure class="plot">
      <figcaption>
        <span>{props.title}</span> <strong>{props.now}</strong>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${props.title}: ${props.now}`}
      >
        <polygon points={area} />
        <polyline points={line.join(' ')} />
      </svg>
    </figure>
  );
}
