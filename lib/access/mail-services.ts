import { MailService } from './mail-service';

/** Without these nobody could read or send mail. */
const REQUIRED = [MailService.IMAPS, MailService.SUBMISSION];

/**
 * Checks a list of services to offer.
 *
 * @throws when a service is there twice, or when IMAPS or submission is missing
 */
export function checkServices(services: MailService[]): void {
  const names = services.map((service) => service.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) {
    throw new Error(`services must name each service once, got ${twice} twice; remove one`);
  }
  for (const required of REQUIRED) {
    if (!services.includes(required)) {
      throw new Error(
        `services must have ${required.name} (port ${required.port}), got ${names.join(', ') || 'none'}; add it`,
      );
    }
  }
}
