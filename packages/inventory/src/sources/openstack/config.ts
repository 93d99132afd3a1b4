import { z } from 'zod';
import { commonSource } from '../common-config.ts';

const url = z
  .string()
  .max(2048)
  .refine((text) => {
    const parsed = URL.parse(text);
    return (
      (parsed?.protocol === 'http:' || parsed?.protocol === 'https:') &&
      parsed.username === '' &&
      parsed.password === '' &&
      parsed.search === ''
    );
  }, 'must be an http or https URL without user, password or query');

const word = z.string().min(1).max(255);
const file = z.string().min(1).max(4096);
const tls = z.strictObject({
  /** Certificates of the authorities that sign the servers'; the system's if absent. */
  caFile: file.optional(),
  certFile: file.optional(),
  keyFile: file.optional(),
});

/** A secret stands in the configuration or, better, in a file that only the program can read. */
const secret = z.string().min(1).max(4096).optional();
const password = { password: secret, passwordFile: file.optional() };

const onePassword = (value: { password?: unknown; passwordFile?: unknown }): boolean =>
  (value.password === undefined) !== (value.passwordFile === undefined);

const byPassword = z
  .strictObject({
    method: z.literal('password'),
    /** Keystone, with its version: `https://keystone:5000/v3`. */
    url,
    username: word,
    userDomain: word.default('Default'),
    ...password,
    project: word,
    projectDomain: word.default('Default'),
  })
  .refine(onePassword, { path: ['password'], error: 'give either password or passwordFile' });

const applicationCredential = z
  .strictObject({
    method: z.literal('application-credential'),
    url,
    id: word,
    secret,
    secretFile: file.optional(),
  })
  .refine((auth) => (auth.secret === undefined) !== (auth.secretFile === undefined), {
    path: ['secret'],
    error: 'give either secret or secretFile',
  });

/** Services without Keystone (`noauth`); user and project are what Nova's `noauth2` wants to be told. */
const none = z.strictObject({
  method: z.literal('none'),
  user: word.optional(),
  project: word.optional(),
});

const notifications = z
  .strictObject({
    /** RabbitMQ's nodes, tried in turn: host or host:port. */
    hosts: z
      .array(
        z
          .string()
          .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s/@:]+)(:\d{1,5})?$/, 'must be host or host:port'),
      )
      .min(1)
      .max(16),
    username: word,
    ...password,
    vhost: z.string().max(255).default('/'),
    tls: tls.optional(),
    /** The services' `control_exchange`; it is never made here, only bound to. */
    exchanges: z.array(word).min(1).max(8).default(['neutron', 'nova']),
    /** `notification_topics` of the services; nova's versioned form has its own. */
    topics: z.array(word).min(1).max(8).default(['notifications', 'versioned_notifications']),
    heartbeatSeconds: z.number().int().min(1).max(600).default(15),
  })
  .refine(onePassword, { path: ['password'], error: 'give either password or passwordFile' });

export const openstackSource = z
  .strictObject({
    ...commonSource,
    type: z.literal('openstack'),
    auth: z.discriminatedUnion('method', [byPassword, applicationCredential, none]),
    region: word.optional(),
    interface: z.enum(['public', 'internal', 'admin']).default('public'),
    /** Instead of what the catalogue says; needed where there is no Keystone. */
    endpoints: z
      .strictObject({
        /** Neutron, without version: `http://neutron:9696`. */
        network: url.optional(),
        /** Nova, with its version: `http://nova:8774/v2.1`. */
        compute: url.optional(),
      })
      .prefault({}),
    /** Whether Nova is asked about the servers behind the ports. */
    compute: z.boolean().default(true),
    tls: tls.prefault({}),
    /** Servers of every project, for which Nova wants an administrator or reader of the whole. */
    allProjects: z.boolean().default(true),
    /** Ports of these projects only, by id; of these networks only, by id; with all of these tags. Empty: any. */
    projects: z.array(word).max(64).default([]),
    networks: z.array(word).max(64).default([]),
    tags: z.array(word).max(16).default([]),
    /** What a port's owner must be, for the port to be a machine's; a last `*` stands for any end. */
    deviceOwners: z.array(word).min(1).max(32).default(['compute:*', 'baremetal:*']),
    /**
     * Which facts become labels by themselves. Whoever may write in a project writes its tags and metadata:
     * leave them out, and let rules take what is trusted, where projects do not trust each other.
     */
    labelsFrom: z
      .array(z.enum(['tags', 'metadata', 'project']))
      .default(['tags', 'metadata', 'project']),
    /** The project's name as namespace, for items of this source; else `namespace`. */
    projectAsNamespace: z.boolean().default(false),
    poll: z
      .strictObject({
        /** Between questions for what changed. */
        changesSeconds: z.number().min(0.1).max(3600).default(3),
        /** Between lists of bare ids and revisions, by which deletions are found. */
        rollCallSeconds: z.number().min(0.1).max(3600).default(10),
        /** Such a list takes at most this share of the time, however large the site. */
        rollCallShare: z.number().min(0.001).max(1).default(0.1),
        /** Between full lists of everything. */
        resyncSeconds: z.number().min(1).max(86_400).default(900),
        /** How far back a question for changes reaches, for clocks that differ and transactions under way. */
        overlapSeconds: z.number().min(1).max(3600).default(60),
      })
      .prefault({}),
    limits: z
      .strictObject({
        requestsPerSecond: z.number().min(0.1).max(1000).default(20),
        timeoutSeconds: z.number().min(1).max(600).default(60),
        /** One answer, which is one page. */
        answerBytes: z.number().int().min(1024).max(1_073_741_824).default(67_108_864),
        pageSize: z.number().int().min(1).max(10_000).default(1000),
        /** Ports and servers at most; more is an answer gone wrong. */
        objects: z.number().int().min(1).max(10_000_000).default(500_000),
      })
      .prefault({}),
    notifications: notifications.optional(),
  })
  .refine((config) => config.auth.method !== 'none' || config.endpoints.network !== undefined, {
    path: ['endpoints', 'network'],
    error: 'is needed where there is no Keystone, for there is no catalogue',
  })
  .refine(
    (config) =>
      config.auth.method !== 'none' || !config.compute || config.endpoints.compute !== undefined,
    {
      path: ['endpoints', 'compute'],
      error: 'is needed where there is no Keystone; or set compute to false',
    },
  );

export type OpenStackSourceConfig = z.infer<typeof openstackSource>;
export type AuthConfig = OpenStackSourceConfig['auth'];
export type TlsConfig = OpenStackSourceConfig['tls'];
export type NotificationsConfig = NonNullable<OpenStackSourceConfig['notifications']>;
