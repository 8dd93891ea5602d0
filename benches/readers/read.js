// Reads a report by Node's generated stub, looks at each quantity, and prints the seconds that it took and the digits that it saw.
//
// Usage: node read.js HOST:PORT TENANT_ID YEAR MONTH records|packed
'use strict';
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const contract = loader.loadSync('secureconnect/reports/v1/reports_service.proto', {
  includeDirs: [path.resolve(__dirname, '../../proto')],
});
const { ReportsService } = grpc.loadPackageDefinition(contract).secureconnect.reports.v1;

const [address, tenantId, year, month, way] = process.argv.slice(2);
const client = new ReportsService(address, grpc.credentials.createInsecure(), {
  'grpc.max_receive_message_length': 64 << 20,
});
const start = process.hrtime.bigint();
let digits = 0;
client
  .getDetailedUsage({ tenantId, month: { year: Number(year), month: Number(month) }, packed: way === 'packed' })
  .on('data', (message) => {
    for (const { quantity } of message.records ?? []) {
      digits += quantity.length;
    }
    for (const quantity of message.packedRecords?.quantities ?? []) {
      digits += quantity.length;
    }
  })
  .on('error', (error) => {
    throw error;
  })
  .on('end', () => {
    console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - start) / 1e9, digits }));
    client.close();
  });
