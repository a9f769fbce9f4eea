// Sparklines: steps, as a layout stays until it changes.

const SVG = "http://www.w3.org/2000/svg";

function spark(large = false) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", large ? "spark large" : "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
}

function drawSpark(svg, series, values, name, told) {
  // Rows serve other tables as one scrolls; what changed is another object.
  if (svg.drawn === values) return;
  svg.drawn = values;
  const points = values.length;
  const path = svg.firstChild;
  if (points < 2) {
    path.setAttribute("d", points ? "M0 18H100" : "");
  } else {
    const start = series.at[0];
    const length = Math.max(1, series.at[points - 1] - start) * 1.04;
    const high = Math.max(...values);
    const low = Math.min(...values, high - 1);
    let line = "";
    for (let n = 0; n < points; n += 1) {
      const x = (((series.at[n] - start) / length) * 100).toFixed(1);
      const y = (18 - ((values[n] - low) / (high - low)) * 16).toFixed(1);
      line += n ? `H${x}V${y}` : `M${x} ${y}`;
    }
    path.setAttribute("d", `${line}H100`);
  }
  const from = points ? `${name}: ${told(values[0])} at first, ${told(values[points - 1])} now` : `${name}: nothing known`;
  svg.setAttribute("aria-label", from);
}
