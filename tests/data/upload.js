// Uploads the records of a JSON file with CleverTap's own client, its address being the gateway's.
// node upload.js ADDRESS ACCOUNT PASSCODE FILE; writes the answers as one JSON array.
const { readFileSync } = require("fs");
const { createRequire } = require("module");
const CleverTap = createRequire(process.cwd() + "/")("clevertap");

const [address, account, passcode, file] = process.argv.slice(2);
const client = CleverTap.init(account, passcode, CleverTap.REGIONS.EUROPE);
client.api.apiEndpoint = address + "/1"; // the only thing that is not as for the vendor
client.upload(JSON.parse(readFileSync(file)), (answers) => {
  process.stdout.write(JSON.stringify(answers));
});
