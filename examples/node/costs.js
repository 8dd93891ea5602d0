// Prints what an organization owes, over a network and from servers that may fail meanwhile. It prints only when it has
// all pages, and the lines add up to the totals exactly.
//
// Usage: node costs.js HOST:PORT ORGANIZATION_ID YYYY-MM [LAST YYYY-MM]
//
// The token is taken from SCR_TOKEN. SCR_CA_FILE names the authorities for TLS (PEM), for instance
// /etc/ssl/certs/ca-certificates.crt. Unset: plain text, and a token is then sent to this machine only.
// PAGE_SIZE is how many lines are asked for at a time. The contract is read from ../../proto at each run.
// Needs package.json: npm install --prefix examples/node
'use strict';
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { setTimeout } = require('node:timers/promises');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

// How long to go on trying without a single page.
const GIVE_UP_MS = 120_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 15_000;
// How often to start from the first page, where the lines change between two pages.
const MAX_STARTS = 5;

const CHANNEL_OPTIONS = {
  // gRPC's own pauses between connections grow to two minutes. They must not be longer than ours.
  'grpc.initial_reconnect_backoff_ms': 250,
  'grpc.max_reconnect_backoff_ms': 1000,
  // Detects a connection that is dead and was never closed.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
};

const contract = loader.loadSync('secureconnect/reports/v1/reports_service.proto', {
  includeDirs: [path.resolve(__dirname, '../../proto')],
  enums: String,
  // Else empty fields are undefined, such as the cost of a line without a price.
  defaults: true,
});
const { ReportsService } = grpc.loadPackageDefinition(contract).secureconnect.reports.v1;

// google.rpc.Status and the details that this program reads. Names of messages are not sent, so they are short here.
const rpc = loader.fromJSON({
  nested: {
    Status: { fields: { details: { rule: 'repeated', type: 'Any', id: 3 } } },
    Any: { fields: { typeUrl: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    ErrorInfo: { fields: { reason: { type: 'string', id: 1 } } },
    RetryInfo: { fields: { retryDelay: { type: 'Duration', id: 1 } } },
    Duration: { fields: { seconds: { type: 'int64', id: 1 }, nanos: { type: 'int32', id: 2 } } },
  },
}, { longs: Number, defaults: true });

// A google.rpc detail of an error, 'ErrorInfo' or 'RetryInfo'; undefined where it is missing or damaged.
function detail(error, kind) {
  try {
    const [bytes] = error.metadata.get('grpc-status-details-bin');
    const { details } = rpc.Status.deserialize(bytes);
    const packed = details.find(({ typeUrl }) => typeUrl.endsWith(`/google.rpc.${kind}`));
    return packed && rpc[kind].deserialize(packed.value);
  } catch {
    return undefined;
  }
}

// Whether another try may help.
function isTransient(error) {
  const info = detail(error, 'ErrorInfo');
  if (error.code === grpc.status.UNAVAILABLE || info?.reason === 'CALLER_LIMIT') {
    return true;
  }
  // The server gives a reason with each error. An error without one comes from the transport or from a proxy.
  const { UNKNOWN, INTERNAL, CANCELLED, DEADLINE_EXCEEDED, ABORTED } = grpc.status;
  return !info && [UNKNOWN, INTERNAL, CANCELLED, DEADLINE_EXCEEDED, ABORTED].includes(error.code);
}

// Calls until there is an answer, or an error for which another try does not help.
async function withRetries(call) {
  let failingSince;
  for (let tries = 0; ; tries++) {
    try {
      return await call();
    } catch (error) {
      const delay = detail(error, 'RetryInfo')?.retryDelay;
      const asked = delay ? delay.seconds * 1000 + delay.nanos / 1e6 : 0;
      // Twice as long each time, and by chance a little shorter: many clients lose one server at once.
      const longest = Math.min(FIRST_PAUSE_MS * 2 ** tries, LONGEST_PAUSE_MS);
      const pause = Math.max(asked, longest * (0.5 + Math.random() / 2));
      failingSince ??= performance.now();
      if (!isTransient(error) || performance.now() - failingSince + pause > GIVE_UP_MS) {
        throw error;
      }
      console.error(`${error.message}; trying again in ${(pause / 1000).toFixed(1)} s`);
      await setTimeout(pause);
    }
  }
}

// All lines, and the totals over them.
async function allPages(getMonthlyCosts, request) {
  const lines = [];
  let page;
  do {
    const pageToken = page?.nextPageToken;
    page = await withRetries(() => getMonthlyCosts({ ...request, pageToken }));
    lines.push(...page.lines);
  } while (page.nextPageToken);
  return { lines, totals: page.totals };
}

async function costs(getMonthlyCosts, request) {
  for (let start = 1; ; start++) {
    try {
      return await allPages(getMonthlyCosts, request);
    } catch (error) {
      if (detail(error, 'ErrorInfo')?.reason !== 'PAGE_TOKEN_EXPIRED' || start === MAX_STARTS) {
        throw error;
      }
      console.error(`${error.message}; starting again from the first page`);
    }
  }
}

function monthText({ year, month }) {
  return `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}`;
}

// An amount in the currency's minor unit: 8497n for 84.97. Amounts are never floating point.
function minorUnits(amount, digits) {
  const [, whole, fraction = ''] = /^(-?\d+)(?:\.(\d+))?$/.exec(amount) ?? [];
  if (whole === undefined || fraction.length !== digits) {
    throw new Error(`the server sent ${JSON.stringify(amount)}, which is not a number with ${digits} decimals`);
  }
  return BigInt(whole + fraction);
}

// Throws unless the lines of each month and currency add up to its total, to the last digit.
function check(lines, totals) {
  const key = ({ month, currency }) => `${monthText(month)} ${currency}`;
  const expected = new Map(totals.map((total) => [key(total), total.cost]));
  const sums = new Map();
  for (const line of lines) {
    const total = expected.get(key(line));
    if (total === undefined) {
      throw new Error(`the lines of ${key(line)} have no total`);
    }
    const digits = (total.split('.')[1] ?? '').length;
    const cost = line.cost ? minorUnits(line.cost, digits) : 0n;
    sums.set(key(line), (sums.get(key(line)) ?? 0n) + cost);
  }
  for (const [month, total] of expected) {
    const digits = (total.split('.')[1] ?? '').length;
    const sum = sums.get(month) ?? 0n;
    if (sum !== minorUnits(total, digits)) {
      throw new Error(`${month}: the lines add up to ${sum} minor units, and the total is ${total}`);
    }
  }
}

function print({ lines, totals }) {
  let heading;
  for (const line of lines) {
    // Several tenants may have the same name.
    const next = `${monthText(line.month)} ${line.tenantName} (${line.tenantId})`;
    if (next !== heading) {
      heading = next;
      console.log(heading);
    }
    const cost = line.notCharged ? 'not charged' : line.cost || 'no price';
    console.log(`  ${line.meterName} ${line.billingRegion} ${line.quantity} ${cost}`);
  }
  for (const { month, cost, currency } of totals) {
    console.log(`${monthText(month)} total ${cost} ${currency}`);
  }
  const unpriced = lines.filter(({ cost }) => !cost).length;
  if (unpriced > 0) {
    console.error(`warning: ${unpriced} of ${lines.length} lines have no price, and are not in the totals`);
  }
}

function isLoopback(server) {
  const host = server.slice(0, server.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || (net.isIPv4(host) && host.startsWith('127.'));
}

function credentials(server, token) {
  if (process.env.SCR_CA_FILE) {
    return grpc.credentials.createSsl(fs.readFileSync(process.env.SCR_CA_FILE));
  }
  if (token && !isLoopback(server)) {
    throw new Error(`the token would go to ${server} in plain text: set SCR_CA_FILE for TLS`);
  }
  return grpc.credentials.createInsecure();
}

function parseMonth(text) {
  const [, year, month] = /^(\d{4})-(\d{2})$/.exec(text) ?? [];
  if (!year) {
    throw new Error(`${JSON.stringify(text)} is not a month such as 2022-02`);
  }
  return { year: Number(year), month: Number(month) };
}

async function main(server, organizationId, first, last = first) {
  const pageSize = process.env.PAGE_SIZE ?? '0';
  if (!/^\d{1,9}$/.test(pageSize)) {
    throw new Error(`PAGE_SIZE is not a number of lines: ${JSON.stringify(pageSize)}`);
  }
  const request = {
    organizationId,
    startMonth: parseMonth(first),
    endMonth: parseMonth(last),
    pageSize: Number(pageSize),
  };
  const token = (process.env.SCR_TOKEN ?? '').trim();
  // gRPC would show such a token in its error.
  if (!/^[\x20-\x7e]*$/.test(token)) {
    throw new Error('SCR_TOKEN is not a token: it holds a character that a header cannot have');
  }
  const metadata = new grpc.Metadata();
  if (token) {
    metadata.set('authorization', `Bearer ${token}`);
  }
  const client = new ReportsService(server, credentials(server, token), CHANNEL_OPTIONS);
  const getMonthlyCosts = (page) => new Promise((resolve, reject) => {
    client.GetMonthlyCosts(page, metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
  try {
    const answer = await costs(getMonthlyCosts, request);
    check(answer.lines, answer.totals);
    print(answer);
  } finally {
    client.close();
  }
}

const parameters = process.argv.slice(2);
if (parameters.length < 3 || parameters.length > 4) {
  console.error('Usage: node costs.js HOST:PORT ORGANIZATION_ID YYYY-MM [LAST YYYY-MM]');
  process.exitCode = 1;
} else {
  main(...parameters).catch((error) => {
    console.error(error.message);
    // process.exit would lose output that is not yet written to a pipe.
    process.exitCode = 1;
  });
}
