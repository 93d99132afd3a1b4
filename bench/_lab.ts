import { benchLab, twoNodes } from './lib/site.ts';

await using site = await benchLab('bench-try', twoNodes({ mode: 'native', net: 70 }), (l) =>
  console.error(l),
);
console.log(await site.lab.agent('n1').get('/v1/status'));
console.log(
  await site.lab.traffic.ping(
    'main/default/client',
    await site.address('main/default/server', 'ipv4'),
  ),
);
console.log(
  await site.lab.traffic.ping(
    'main/default/client',
    await site.address('main/default/server', 'ipv6'),
  ),
);
console.log(
  await site.lab.agent('n1').get('/v1/policy'),
  await site.lab.agent('n1').get('/v1/tables'),
);
