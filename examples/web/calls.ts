// What a page can do with Goldbook: calls by the generated client, over gRPC-Web.
//
// `check.mjs` serves this page, opens it in a browser and compares what it tells. The address of the service is in the
// page's own address: ?service=http://127.0.0.1:50051

import { createClient, Code, ConnectError } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { CustomerService } from "./gen/goldbook/v1/customers_pb.ts";
import { LedgerService } from "./gen/goldbook/v1/ledger_pb.ts";
import { GrantReason, RewardService } from "./gen/goldbook/v1/rewards_pb.ts";
import { TierService } from "./gen/goldbook/v1/tiers_pb.ts";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.ts";

const query = new URLSearchParams(location.search);
const transport = createGrpcWebTransport({ baseUrl: query.get("service") ?? "http://127.0.0.1:50051" });
const customers = createClient(CustomerService, transport);
const ledger = createClient(LedgerService, transport);
const rewards = createClient(RewardService, transport);
const tiers = createClient(TierService, transport);

const programId = "cdnow";
const customerId = query.get("customer") ?? "anna";
const reason = GrantReason.GOODWILL;

/** What became of a call: its answer, or the code and the reason of its refusal. */
async function tell(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return await call();
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const [info] = error.findDetails(ErrorInfoSchema);
    return { code: Code[error.code], reason: info?.reason ?? null };
  }
}

/** The id of the trace that a call was answered in. */
let trace = "";
const onHeader = (headers: Headers) => {
  trace = headers.get("traceparent")?.split("-")[1] ?? "";
};

const told: Record<string, unknown> = {
  create: await tell(async () => {
    const answer = await customers.createCustomer(
      { programId, customer: { customerId, displayName: "Anna" }, idempotencyKey: "create" },
      { onHeader },
    );
    return { customerId: answer.customer?.customerId, hasTrace: /^[0-9a-f]{32}$/.test(trace) };
  }),
  grant: await tell(async () => {
    const content = { case: "points" as const, value: 250n };
    const answer = await rewards.grantReward({ programId, customerId, content, reason, idempotencyKey: "gift" });
    return { replayed: answer.replayed };
  }),
  balance: await tell(async () => {
    const { balance } = await rewards.getBalance({ programId, customerId });
    return { available: String(balance?.available) };
  }),
  tier: await tell(async () => {
    const { customerTier } = await tiers.getCustomerTier({ programId, customerId });
    return { tierId: customerTier?.tierId };
  }),
  refusal: await tell(() => tiers.getCustomerTier({ programId, customerId: "nobody" })),
  other: await tell(() => tiers.getCustomerTier({ programId, customerId: "eve" })),
  stream: await tell(async () => {
    let total = 0;
    let count = 0;
    for await (const part of ledger.exportEntries({ programId })) {
      total += Number(part.entriesTotal);
      count += part.entries.length;
    }
    return { isWhole: total === count, isEmpty: count === 0 };
  }),
};

const text = JSON.stringify(told, null, 2);
document.querySelector("#told")!.textContent = text;
await fetch("told", { method: "POST", body: text });

export {};
