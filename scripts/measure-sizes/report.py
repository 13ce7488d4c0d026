"""What was measured, as tables to read, and whether it makes sense."""

import dataclasses

# Of these each call brings exactly so many rows.
EXACT = {
    ("grants", "ledger_entries"): 1,
    ("grants", "lots"): 1,
    ("grants, single", "ledger_entries"): 1,
    ("grants, single", "lots"): 1,
    ("redemptions", "ledger_entries"): 1,
    ("redemptions", "lots"): 0,
    ("uses of benefits", "ledger_entries"): 1,
    ("uses of benefits", "benefit_uses"): 1,
    ("grants of benefits", "ledger_entries"): 1,
    ("grants of benefits", "benefit_grants"): 1,
    ("expiries", "ledger_entries"): 1,
    ("customers", "customers"): 1,
    ("customers", "accounts"): 1,
    ("customers", "names"): 1,
    ("customers", "standings"): 1,
    ("purchases", "activities"): 1,
    ("purchases, single", "activities"): 1,
}
# Small tables of which nobody needs to know the size of a row.
FEWEST_ROWS = 100


def markdown(head, lines):
    """A table, with names on the left and numbers on the right."""
    lines = [[str(cell) for cell in line] for line in lines]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def figure(number):
    """With three places that count, or as a whole number."""
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


@dataclasses.dataclass
class Report:
    together: dict
    alone: dict
    vacuum: object
    idle: object
    tables: dict

    def text(self):
        parts = [
            ("Many at a time, per thousand", self.costs(self.together)),
            ("Each alone, per thousand", self.costs(self.alone)),
            ("Rows added, per thousand", self.rows()),
            ("Tables in the end", self.sizes()),
            ("Freezing the ledger, per thousand rows", self.costs({"rows": self.vacuum})),
            ("A service that nobody calls, per thousand seconds", self.costs({"seconds": self.idle})),
        ]
        return "\n\n".join(f"{title}\n\n{table}" for title, table in parts)

    @staticmethod
    def costs(costs):
        lines = {
            "rows added": lambda cost: sum(cost.rows.values()) or cost.table_sum("inserted"),
            "rows changed": lambda cost: cost.table_sum("changed"),
            "of these in place": lambda cost: cost.table_sum("hot"),
            "kB of tables": lambda cost: cost.table_sum("heap") / 1000,
            "kB of indexes": lambda cost: cost.table_sum("indexes") / 1000,
            "kB of log, records": lambda cost: cost.record_bytes / 1000,
            "whole pages in the log": lambda cost: cost.page_images,
            "kB of log, whole pages": lambda cost: cost.image_bytes / 1000,
            "kB of log": lambda cost: cost.wal_bytes / 1000,
            "commits": lambda cost: cost.commits,
            "syncs of the log": lambda cost: cost.syncs,
            "pages read": lambda cost: cost.pages_read,
            "pages written by the checkpoint": lambda cost: cost.pages_written,
        }
        return markdown(
            ["", *costs],
            [[name, *(figure(cost.per_thousand(of(cost))) for cost in costs.values())] for name, of in lines.items()],
        )

    def rows(self):
        names = sorted({table for cost in self.together.values() for table in cost.rows})
        return markdown(
            ["", *self.together],
            [
                [name, *(figure(cost.per_thousand(cost.rows.get(name, 0))) for cost in self.together.values())]
                for name in names
            ],
        )

    def sizes(self):
        lines = []
        for name, counts in sorted(self.tables.items()):
            kept = counts["inserted"] - counts["removed"]
            if kept < FEWEST_ROWS and counts["changed"] < FEWEST_ROWS:
                continue
            in_place = f"{100 * counts['hot'] / counts['changed']:.1f} %" if counts["changed"] else ""
            of_row = [figure(counts[part] / kept) if kept >= FEWEST_ROWS else "" for part in ["heap", "indexes"]]
            lines.append([name, f"{kept:,}", *of_row, f"{counts['changed']:,}", in_place])
        return markdown(["", "rows", "bytes of a row", "bytes of its indexes", "changes", "in place"], lines)

    def as_json(self):
        return dataclasses.asdict(self)

    def senseless(self):
        """What cannot be, whatever the machine is like."""
        found = []
        for (kind, table), expected in EXACT.items():
            cost = self.together[kind]
            if (brought := cost.rows.get(table, 0)) != expected * cost.count:
                found.append(f"{cost.count} {kind} brought {brought} rows of {table}")
        for kind in ["customers", "purchases", "purchases, single"]:
            cost = self.together[kind]
            if (brought := cost.rows.get("ledger_entries", 0)) < cost.count:
                found.append(f"{cost.count} {kind} brought {brought} entries")
        for name, costs in [("many at a time", self.together), ("each alone", self.alone)]:
            for kind, cost in costs.items():
                needed = {
                    "bytes of log": cost.record_bytes,
                    "whole pages in the log": cost.page_images,
                    "commits": cost.commits,
                    "syncs": cost.syncs,
                    "pages written": cost.pages_written,
                }
                found += [f"{kind}, {name}: no {what}" for what, number in needed.items() if number <= 0]
                if cost.wal_bytes < cost.record_bytes + cost.image_bytes:
                    found.append(f"{kind}, {name}: the log is smaller than what is in it")
        for kind, cost in self.alone.items():
            if cost.commits < cost.count or cost.syncs < cost.count:
                found.append(f"{cost.count} {kind} one after the other had {cost.commits} commits, {cost.syncs} syncs")
        return found
