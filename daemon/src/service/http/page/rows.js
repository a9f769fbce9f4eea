// Only the rows that can be seen are there: a table of thousands costs as much as one of thirty. Rows are used again.

const HEIGHT = 32;
const BEYOND = 6;

class Window {
  // `create` makes a row, `change` shows an entry in it.
  constructor(grid, body, create, change) {
    Object.assign(this, { grid, body, create, change, entries: [], rows: [], first: -1 });
    this.above = this.space();
    this.below = this.space();
    body.append(this.above, this.below);
    grid.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(grid);
  }

  // One cell: one over all columns would bring those back that a narrow screen leaves out.
  space() {
    const row = make("tr", "space");
    const cell = make("td");
    row.setAttribute("aria-hidden", "true");
    row.append(cell);
    return row;
  }

  set(entries) {
    this.entries = entries;
    this.draw();
  }

  draw() {
    const seen = Math.ceil(this.grid.clientHeight / HEIGHT) + 2 * BEYOND;
    const last = Math.max(0, this.entries.length - seen);
    const first = Math.min(last, Math.max(0, Math.floor(this.grid.scrollTop / HEIGHT) - BEYOND));
    const shown = Math.min(seen, this.entries.length);
    while (this.rows.length < shown) {
      const row = this.create();
      this.rows.push(row);
      this.body.insertBefore(row, this.below);
    }
    while (this.rows.length > shown) this.rows.pop().remove();
    this.rows.forEach((row, n) => this.change(row, this.entries[first + n], first + n));
    this.stretch(this.above, first);
    this.stretch(this.below, this.entries.length - first - shown);
  }

  stretch(space, rows) {
    if (space.rows !== rows) space.firstChild.style.height = `${rows * HEIGHT}px`;
    space.rows = rows;
  }

  reveal(n) {
    const top = n * HEIGHT;
    const room = this.grid.clientHeight - 2 * HEIGHT;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    if (top > this.grid.scrollTop + room) this.grid.scrollTop = top - room;
    this.draw();
  }
}
