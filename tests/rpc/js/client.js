// Calls every method of the contract with the official JavaScript client, and prints what came back as JSON.
// Usage: node client.js PROTOS URL_ADDRESS USER_ADDRESS ANALYTICS_ADDRESS [gzip]
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [protos, urlAddress, userAddress, analyticsAddress, gzip] = process.argv.slice(2);
const options = gzip ? { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip } : {};
const clients = [];

function stub(name, service, address) {
  const definition = loader.loadSync(path.join(protos, `${name}.proto`), {
    keepCase: true, longs: Number, defaults: true,
  });
  const Client = grpc.loadPackageDefinition(definition)[name][service];
  clients.push(new Client(address, grpc.credentials.createInsecure(), options));
  return clients[clients.length - 1];
}

/** Return {ok: answer} or {code, message, details: base64 of google.rpc.Status}. */
function call(client, method, request, deadlineMilliseconds = 10000) {
  return new Promise((resolve) => {
    const deadline = Date.now() + deadlineMilliseconds;
    client[method](request, { deadline }, (error, answer) => {
      if (!error) return resolve({ ok: answer });
      const [details] = error.metadata.get('grpc-status-details-bin');
      resolve({ code: error.code, message: error.details, details: details ? details.toString('base64') : '' });
    });
  });
}

const bytes = (buffer) => buffer;

/** Ask the health service, whose messages are small enough to be written by hand. */
function health(client, service) {
  const request = Buffer.concat([Buffer.from([0x0a, service.length]), Buffer.from(service)]);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest('/grpc.health.v1.Health/Check', bytes, bytes, request, (error, answer) =>
      error ? reject(error) : resolve(answer.toString('hex')));
  });
}

/** Watch the health service until its first answer, then cancel. */
function watched(client) {
  return new Promise((resolve, reject) => {
    const watch = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', bytes, bytes, Buffer.alloc(0));
    const answers = [];
    watch.on('data', (answer) => { answers.push(answer.toString('hex')); watch.cancel(); });
    watch.on('error', (error) =>
      error.code === grpc.status.CANCELLED ? resolve(answers) : reject(error));
  });
}

/** List the services by reflection, on a stream in both directions. */
function reflected(client) {
  return new Promise((resolve, reject) => {
    const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
    const stream = client.makeBidiStreamRequest(path, bytes, bytes);
    let answer = '';
    stream.on('data', (data) => { answer = data.toString('latin1'); stream.end(); });
    stream.on('end', () => resolve(answer.match(/[a-z]+(\.[a-z0-9]+)*\.[A-Z][A-Za-z]+/g)));
    stream.on('error', reject);
    stream.write(Buffer.from([0x3a, 0x00]));
  });
}

async function main() {
  const urls = stub('url', 'URLService', urlAddress);
  const users = stub('user', 'UserService', userAddress);
  const analytics = stub('analytics', 'AnalyticsService', analyticsAddress);
  const results = {};
  const note = async (name, answer) => { results[name] = await answer; return results[name].ok; };

  const long_url = 'https://example.com/ünïcode?q=✓';
  const made = await note('CreateURL', call(urls, 'CreateURL', { long_url, user_id: 'js' }));
  const short_code = made.short_code;
  await note('CreateCustomURL', call(urls, 'CreateCustomURL', {
    alias: 'js-link', long_url: 'https://example.com/', expires_at: 4102444800, user_id: 'js', omit_qr_code: true,
  }));
  await note('GetURL', call(urls, 'GetURL', { short_code }));
  await note('ListURLs', call(urls, 'ListURLs', { user_id: 'js', limit: 1 }));
  await note('IncrementClicks', call(urls, 'IncrementClicks', { short_code }));

  await note('TrackClick', call(analytics, 'TrackClick', {
    short_code, ip_address: '192.0.2.1', referer: 'https://a.example/x', timestamp: 1704153600,
  }));
  await note('GetStats', call(analytics, 'GetStats', { short_code }));
  await note('GetTimeSeries', call(analytics, 'GetTimeSeries', {
    short_code, start_time: 1704067200, end_time: 1704240000, granularity: 'day',
  }));
  await note('GetGeoStats', call(analytics, 'GetGeoStats', { short_code, limit: 5 }));

  const person = { email: 'js@example.com', password: 'securePassword123', name: 'Jürgen S' };
  const { token } = await note('Register', call(users, 'Register', person));
  await note('Login', call(users, 'Login', person));
  await note('GetProfile', call(users, 'GetProfile', { token }));
  await note('UpdateProfile', call(users, 'UpdateProfile', { token, name: 'Jay S' }));
  await note('ValidateToken', call(users, 'ValidateToken', { token }));
  const account = { email: 'js2@example.com', username: 'jsuser', password: 'securePassword123' };
  const { id } = await note('CreateUser', call(users, 'CreateUser', account));
  await note('GetUser', call(users, 'GetUser', { user_id: id }));
  await note('ListUsers', call(users, 'ListUsers', { limit: 1 }));
  await note('DeleteURL', call(urls, 'DeleteURL', { short_code }));

  await note('invalid', call(urls, 'CreateURL', { user_id: 'js' }));
  await note('conflict', call(urls, 'CreateCustomURL', { alias: 'js-link', long_url, user_id: 'js' }));
  await note('missing', call(urls, 'GetURL', { short_code: 'nothere' }));
  await note('deadline', call(users, 'Register', { ...person, email: 'late@example.com' }, 3));
  const many = Array.from({ length: 200 }, () => call(urls, 'GetURL', { short_code: 'js-link' }));
  results.many = (await Promise.all(many)).filter((one) => one.ok && one.ok.found).length;
  results.health = await health(users, 'user.UserService');
  results.watched = await watched(users);
  results.reflected = await reflected(users);
  for (const client of clients) client.close();
  process.stdout.write(JSON.stringify(results));
}

main();
