// Prints an organization's costs as `meter region quantity cost`, with @grpc/grpc-js and the contract read at run time.
// A token is taken from SCR_TOKEN, if that is set.
// Usage: node costs.js NODE_MODULES PROTO_FOLDER SERVER ORGANIZATION_ID YYYY-MM
const path = require('node:path');
const [modules, protoFolder, server, organizationId, month] = process.argv.slice(2);
const grpc = require(path.join(modules, '@grpc/grpc-js'));
const loader = require(path.join(modules, '@grpc/proto-loader'));

const definition = loader.loadSync('secureconnect/reports/v1/reports_service.proto', {
  includeDirs: [protoFolder],
  enums: String,
});
const { ReportsService } = grpc.loadPackageDefinition(definition).secureconnect.reports.v1;
const client = new ReportsService(server, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
if (process.env.SCR_TOKEN) {
  metadata.set('authorization', `Bearer ${process.env.SCR_TOKEN}`);
}
const [year, number] = month.split('-').map(Number);
client.GetMonthlyCosts({ organizationId, startMonth: { year, month: number } }, metadata, (error, costs) => {
  if (error) {
    console.error(error.message);
    process.exit(1);
  }
  for (const line of costs.lines) {
    console.log(line.meterName, line.billingRegion, line.quantity, line.cost);
  }
  for (const total of costs.totals) {
    console.log('total', total.cost, total.currency);
  }
  client.close();
});
